package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/text/language"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/ports"
)

const (
	defaultPage = 20
	// maxLocales and maxAcceptLanguage bound what a header can make us look for.
	maxLocales        = 10
	maxAcceptLanguage = 512
)

// varyInbox is what an answer about an inbox depends on besides its address.
const varyInbox = "Authorization, Origin, Accept-Language, Accord-Installation-Id"

// ownPage is Cache-Control of whatever shows what one viewer did: it is fresh for no time at all, since what the viewer
// does next is in the next one, and nobody else's. Asking whether it still holds is cheap.
const ownPage = "private, max-age=0, must-revalidate"

// GetInbox answers with a page of the feed.
func (s *server) GetInbox(g *gin.Context, params GetInboxParams) {
	x := exchangeOf(g)
	q, err := feedQuery(x.viewer(), params.Limit, params.Category, params.State, g.GetHeader("Accept-Language"))
	if err != nil {
		s.fail(g, err)
		return
	}
	q.Cursor, q.Held = textOf(params.Cursor), heldTags(g.Request.Header)
	page, err := s.inbox.Feed(g.Request.Context(), q)
	if err != nil {
		s.fail(g, err)
		return
	}
	s.questions.remember(g.Request, q)
	s.answerPage(g, q, page)
}

// RefreshInbox asks upstream and answers with the first page.
func (s *server) RefreshInbox(g *gin.Context, params RefreshInboxParams) {
	q, err := feedQuery(exchangeOf(g).viewer(), params.Limit, params.Category, params.State, g.GetHeader("Accept-Language"))
	if err != nil {
		s.fail(g, err)
		return
	}
	page, err := s.inbox.Refresh(g.Request.Context(), q)
	if err != nil {
		s.fail(g, err)
		return
	}
	own(g) // who has just asked upstream is not to be given somebody's older answer
	g.Writer.Header()["Etag"] = weakTag(page.Tag)
	answerAppended(g, func(b []byte) []byte { return appendPage(b, page) })
}

// GetInboxCounts answers with the counts and the version.
func (s *server) GetInboxCounts(g *gin.Context, _ GetInboxCountsParams) {
	viewer := exchangeOf(g).viewer()
	state, err := s.inbox.Counts(g.Request.Context(), viewer)
	if err != nil {
		s.fail(g, err)
		return
	}
	describe(g, viewer, state)
	if hasSeen(g.Request.Header, state.Tag) {
		g.Status(http.StatusNotModified)
		return
	}
	answerAppended(g, func(b []byte) []byte { return append(appendState(append(b, '{'), state), '}', '\n') })
}

// GetInboxChanges answers with what is different since a version.
func (s *server) GetInboxChanges(g *gin.Context, params GetInboxChangesParams) {
	since, err := inbox.ParseVersion("since", params.Since)
	if err != nil {
		s.fail(g, err)
		return
	}
	changes, err := s.inbox.Changes(g.Request.Context(), exchangeOf(g).viewer(), since, locales(g.GetHeader("Accept-Language")))
	if err != nil {
		s.fail(g, err)
		return
	}
	own(g)
	answerAppended(g, func(b []byte) []byte { return appendChanges(b, changes) })
}

// feedQuery reads what a page is asked for. Errors name the parameter.
func feedQuery(viewer inbox.Viewer, limit *InboxLimit, categories *Category, state *View, acceptLanguage string) (ports.FeedQuery, error) {
	view, err := inbox.ParseView("state", textOf(state))
	q := ports.FeedQuery{Viewer: viewer, Filter: inbox.Filter{View: view}, Limit: defaultPage, Locales: locales(acceptLanguage)}
	if limit != nil {
		q.Limit = *limit
	}
	if categories != nil {
		q.Filter.Categories = *categories
	}
	return q, err
}

// locales lists the languages of Accept-Language, the most wanted first. A header that is malformed, or out of all bounds,
// counts as not given: a client cannot help what its platform sends.
func locales(header string) []string {
	if header == "" || len(header) > maxAcceptLanguage {
		return nil
	}
	tags, _, err := language.ParseAcceptLanguage(header)
	if err != nil {
		return nil
	}
	out := make([]string, 0, min(len(tags), maxLocales))
	for _, t := range tags[:min(len(tags), maxLocales)] {
		out = append(out, t.String())
	}
	return out
}

// heldTags are the tags of If-None-Match. Whether they are weak does not matter (RFC 9110, section 13.1.2).
func heldTags(h http.Header) []string {
	value := strings.TrimSpace(strings.Join(h.Values("If-None-Match"), ", "))
	if value == "" {
		return nil
	}
	list, _ := entityTags(value)
	held := make([]string, len(list))
	for i, t := range list {
		held[i] = t.opaque
	}
	return held
}

func (s *server) answerPage(g *gin.Context, q ports.FeedQuery, page ports.FeedPage) {
	describe(g, q.Viewer, page.InboxState)
	if page.Unchanged || hasSeen(g.Request.Header, page.Tag) {
		g.Status(http.StatusNotModified)
		return
	}
	answerAppended(g, func(b []byte) []byte { return appendPage(b, page) })
}

// describe says what an answer is and how it may be kept.
func describe(g *gin.Context, viewer inbox.Viewer, state ports.InboxState) {
	own(g)
	h := g.Writer.Header()
	h["Etag"] = weakTag(state.Tag)
	if viewer.Anonymous() {
		h["Cache-Control"] = sharedFor(time.Until(state.Freshness.FreshUntil), state.Freshness.Stale)
	}
}

// own says that an answer is one viewer's.
func own(g *gin.Context) {
	h := g.Writer.Header()
	h["Vary"], h["Cache-Control"] = varyHeader, ownHeader
}

// Values of headers that are the same in every answer; nobody changes them.
var (
	varyHeader   = []string{varyInbox}
	ownHeader    = []string{ownPage}
	jsonHeader   = []string{"application/json"}
	sharedHeader = func() (out [maxShared + 1][]string) {
		for n := range out {
			out[n] = []string{"public, max-age=" + strconv.Itoa(n)}
		}
		return out
	}()
)

// maxShared is for how many seconds anybody may keep a page that is nobody's own: a message that was retracted, or a link
// that was switched off, must not live on in caches for long.
const maxShared = 10

func sharedFor(fresh time.Duration, stale bool) []string {
	if stale || fresh <= 0 {
		return sharedHeader[0]
	}
	return sharedHeader[min(int(fresh/time.Second), maxShared)]
}

// bodies are buffers to write answers into. One that grew out of bounds is left to the collector.
var bodies = sync.Pool{New: func() any { b := make([]byte, 0, 16<<10); return &b }}

const maxPooled = 256 << 10

// answerAppended answers 200 with what write appends to an empty buffer.
func answerAppended(g *gin.Context, write func([]byte) []byte) {
	buffer := bodies.Get().(*[]byte)
	*buffer = write((*buffer)[:0])
	answerBytes(g, *buffer)
	if cap(*buffer) <= maxPooled {
		bodies.Put(buffer)
	}
}

// answerBytes answers 200 with a JSON document. It says how long it is, which spares the client and us the chunks.
func answerBytes(g *gin.Context, body []byte) {
	h := g.Writer.Header()
	h["Content-Type"], h["Content-Length"] = jsonHeader, []string{strconv.Itoa(len(body))}
	g.Status(http.StatusOK)
	if _, err := g.Writer.Write(body); err != nil {
		_ = g.Error(err) // the client has hung up
	}
}

// mustKnow is the viewer of a call that leaves a trace; on failure it has answered already.
func (s *server) mustKnow(g *gin.Context) (inbox.Viewer, bool) {
	viewer := exchangeOf(g).viewer()
	if viewer.Anonymous() {
		s.fail(g, fault.OnField(installationHeader, "required", "must be given by who is not signed in"))
		return viewer, false
	}
	return viewer, true
}
