package httpapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/text/encoding"
	"golang.org/x/text/transform"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
)

// A message to a million customers is a body of 48 MiB. Its recipients are read one after the other, so that what is kept
// of it is the list alone; and only so many large bodies are worked on at once, so that memory is bounded by their number.
const (
	maxLarge      = 2
	largePatience = 10 * time.Second
)

// takeLarge waits for a place when the body is large, and gives it back with done. On failure it has answered already.
func (s *server) takeLarge(g *gin.Context) (done func(), ok bool) {
	if n := g.Request.ContentLength; n >= 0 && n <= maxBody {
		return func() {}, true
	}
	late := time.NewTimer(largePatience)
	defer late.Stop()
	select {
	case s.large <- struct{}{}:
		return func() { <-s.large }, true
	case <-g.Request.Context().Done():
		s.fail(g, g.Request.Context().Err())
	case <-late.C:
		s.fail(g, fault.New(fault.Unavailable, "unavailable", "other large requests are being worked on"))
	}
	return nil, false
}

// decodeDraft reads the body of a message to be published, as strictly as decode does. The recipients are not in dst: they
// come in order, each once. On failure it has answered already.
func (s *server) decodeDraft(g *gin.Context, dst *MessageDraft) ([]preference.CustomerID, bool) {
	r := exchangeOf(g).route
	recipients, err := readDraftBody(g.Writer, g.Request, r, dst)
	s.failBody(g, r, err)
	return recipients, err == nil
}

func readDraftBody(w http.ResponseWriter, r *http.Request, route *route, dst *MessageDraft) ([]preference.CustomerID, error) {
	schema, err := schemaFor(r.Header, route.bodies)
	if err != nil {
		return nil, err
	}
	if r.ContentLength > route.maxBody {
		return nil, errTooLarge
	}
	ids := recipients{most: inbox.MaxRecipients}
	in := transform.NewReader(http.MaxBytesReader(w, r.Body, route.maxBody), encoding.UTF8Validator)
	tree, err := newParser(in, map[string]listReader{recipientsPath: ids.read}).document()
	if err != nil {
		return nil, err
	}
	if _, err := fit(schema, tree, dst); err != nil {
		return nil, err
	}
	return ids.each(), nil
}

const recipientsPath = "audience.ids"

// recipients are read from the body without a tree in between.
type recipients struct {
	ids  []preference.CustomerID
	most int
}

// read is a listReader. It gives an empty list to the tree.
func (l *recipients) read(dec *json.Decoder) (any, error) {
	for dec.More() {
		if len(l.ids) == l.most {
			return nil, fault.OnField(recipientsPath, "too_many", "may name at most %d customers", l.most)
		}
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		text, is := token.(string)
		if !is {
			return nil, l.refuse("wrong_type", "must be a string")
		}
		id, err := preference.ParseCustomerID(text)
		if f, bad := fault.As(err); bad {
			return nil, l.refuse(f.Fields[0].Code, f.Fields[0].Message)
		}
		l.ids = append(l.ids, id)
	}
	_, err := dec.Token()
	return []any{}, err
}

// refuse names the recipient that comes next.
func (l *recipients) refuse(code, message string) error {
	return fault.OnField(recipientsPath+"."+strconv.Itoa(len(l.ids)), code, "%s", message)
}

// each lists them in order, each once.
func (l *recipients) each() []preference.CustomerID {
	slices.Sort(l.ids)
	return slices.Compact(l.ids)
}
