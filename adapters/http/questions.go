package httpapi

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"accord/domain/inbox"
	"accord/ports"
)

// Bounds of what is kept; all of it together stays under 32 MiB.
const (
	maxKnownQuestions = 256
	maxKnownText      = 512       // bytes of a query string, and of a header
	maxKnownPage      = 128 << 10 // a page that is larger is encoded for each caller
)

// questions are what was asked of the feed, word for word as it came: apps ask the same few all day long. What is in here
// has kept the contract once and need not be read again. For anonymous callers the page is kept too as it was encoded
// last; whether it still holds is asked of the inbox each time. Safe for concurrent use.
type questions struct {
	mu    sync.RWMutex
	known map[wording]*question
}

type wording struct{ query, acceptLanguage string }

type question struct {
	query     ports.FeedQuery // without the viewer
	anonymous atomic.Pointer[encodedPage]
}

// encodedPage is a page in bytes; its tag and the time that it tells name it.
type encodedPage struct {
	tag    string
	asOf   time.Time
	body   []byte
	etag   []string
	length []string
}

func newQuestions() *questions { return &questions{known: map[wording]*question{}} }

// wordingOf is false for a request whose words are too long to be kept.
func wordingOf(r *http.Request) (w wording, ok bool) {
	languages := r.Header["Accept-Language"]
	if len(languages) > 1 {
		return w, false
	}
	if len(languages) == 1 {
		w.acceptLanguage = languages[0]
	}
	w.query = r.URL.RawQuery
	return w, len(w.query) <= maxKnownText && len(w.acceptLanguage) <= maxKnownText
}

func (qs *questions) find(r *http.Request) *question {
	w, ok := wordingOf(r)
	if !ok {
		return nil
	}
	qs.mu.RLock()
	defer qs.mu.RUnlock()
	return qs.known[w]
}

// remember that a request has kept the contract and means this query. Later pages are not asked for twice by anybody.
func (qs *questions) remember(r *http.Request, meant ports.FeedQuery) {
	w, ok := wordingOf(r)
	if !ok || meant.Cursor != "" {
		return
	}
	meant.Held, meant.Viewer = nil, inbox.Viewer{}
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if len(qs.known) >= maxKnownQuestions { // whatever is asked often comes back at once
		clear(qs.known)
	}
	qs.known[w] = &question{query: meant}
}

// feedOperation is the one that questions are asked of.
const feedOperation = "getInbox"

// answerKnown answers a question that was asked before in the same words. Everything else goes on to be checked and bound.
func (s *server) answerKnown(g *gin.Context) {
	x := exchangeOf(g)
	if x.route == nil || x.route.id != feedOperation {
		return
	}
	known := s.questions.find(g.Request)
	if known == nil || !readInstallation(x, g.Request.Header) {
		return
	}
	q := known.query
	q.Viewer = x.viewer()
	s.engagement.Present(q.Viewer)
	if !q.Viewer.Anonymous() {
		q.Held = heldTags(g.Request.Header)
	}
	page, err := s.inbox.Feed(g.Request.Context(), q)
	switch {
	case err != nil:
		s.fail(g, err)
	case q.Viewer.Anonymous():
		x.fromMemory = true
		known.answer(g, page)
	default:
		s.answerPage(g, q, page)
	}
	g.Abort()
}

// readInstallation is false when the header is not as it must be, and the contract has to say what is wrong.
func readInstallation(x *exchange, h http.Header) bool {
	given := h[installationHeader]
	if len(given) == 0 {
		return true
	}
	id, err := inbox.ParseInstallationID(given[0])
	x.installation = string(id)
	return len(given) == 1 && err == nil
}

// answer an anonymous caller.
func (k *question) answer(g *gin.Context, page ports.FeedPage) {
	e := k.anonymous.Load()
	if e == nil || e.tag != page.Tag || !e.asOf.Equal(page.Freshness.AsOf) {
		e = encodePage(page)
		if len(e.body) <= maxKnownPage {
			k.anonymous.Store(e)
		}
	}
	h := g.Writer.Header()
	h["Etag"], h["Vary"] = e.etag, varyHeader
	h["Cache-Control"] = sharedFor(time.Until(page.Freshness.FreshUntil), page.Freshness.Stale)
	if hasSeen(g.Request.Header, page.Tag) {
		g.Status(http.StatusNotModified)
		return
	}
	h["Content-Type"], h["Content-Length"] = jsonHeader, e.length
	g.Status(http.StatusOK)
	if _, err := g.Writer.Write(e.body); err != nil {
		_ = g.Error(err) // the client has hung up
	}
}

func encodePage(page ports.FeedPage) *encodedPage {
	body := appendPage(nil, page)
	return &encodedPage{tag: page.Tag, asOf: page.Freshness.AsOf, body: body,
		etag: weakTag(page.Tag), length: []string{strconv.Itoa(len(body))}}
}

func weakTag(tag string) []string { return []string{`W/"` + tag + `"`} }
