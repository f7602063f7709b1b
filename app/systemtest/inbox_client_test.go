package systemtest

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"accord/app/compose"
)

const publisherScopes = "messages:write messages:read"

// asPublisher makes a request as a campaign system.
func (c client) asPublisher(t *testing.T, method, path string, body any) answer {
	t.Helper()
	a, err := c.try("campaigns", publisherScopes, method, c.api+path, body)
	require.NoError(t, err)
	return a
}

// message is the body of one; to is empty for everybody.
func message(title string, to ...string) map[string]any {
	audience := map[string]any{"type": "global"}
	if len(to) > 0 {
		audience = map[string]any{"type": "customers", "ids": to}
	}
	return map[string]any{"source": "test", "external_id": uuid.NewString(), "audience": audience, "title": title, "body": "b", "category": "news"}
}

// publish puts a message in and answers with its id.
func (c client) publish(t *testing.T, body map[string]any) string {
	t.Helper()
	a := c.asPublisher(t, http.MethodPost, "/v1/messages", body)
	require.Equal(t, 201, a.status, a.body)
	require.Equal(t, "/v1/messages/"+a.text("id"), a.header.Get("Location"))
	return a.text("id")
}

// orders is a link target that is active.
func (c client) orders(t *testing.T, active bool) {
	t.Helper()
	a := c.asPublisher(t, http.MethodPut, "/v1/deeplink-targets/orders", map[string]any{"pattern": "app://orders/{order_id}", "active": active})
	require.Less(t, a.status, 300, a.body)
}

// feed reads the first page: as a customer, or anonymously when there is none. Each answer is checked by itself: counts
// that differ from the list are what must never be.
func (c client) feed(t *testing.T, customer string, headers ...string) answer {
	t.Helper()
	a := c.as(t, customer, http.MethodGet, "/v1/inbox?limit=100", nil, headers...)
	require.Equal(t, 200, a.status, a.body)
	requireCounts(t, a)
	return a
}

func requireCounts(t *testing.T, a answer) {
	t.Helper()
	if a.at("next_cursor") != nil {
		return
	}
	var unseen, unread int
	list := messages(a)
	for _, m := range list {
		if dig(m, "seen_at") == nil {
			unseen++
		}
		if dig(m, "read_at") == nil {
			unread++
		}
	}
	require.EqualValues(t, map[string]any{"total": float64(len(list)), "unseen": float64(unseen), "unread": float64(unread)}, a.at("counts"), a.body)
}

func messages(a answer) []any {
	list, _ := a.at("messages").([]any)
	return list
}

// find is a message of the answer by its title, nil when it is not there.
func find(a answer, title string) any {
	if i := slices.IndexFunc(messages(a), func(m any) bool { return dig(m, "title") == title }); i >= 0 {
		return messages(a)[i]
	}
	return nil
}

// secondAPI starts another instance on the same database.
func (s *system) secondAPI(t *testing.T) client {
	t.Helper()
	cfg := s.cfg
	cfg.HTTPAddr = freeAddr(t)
	background(t, func(ctx context.Context) error { return compose.Serve(ctx, cfg, quiet(t)) })
	c := s.client
	c.api = "http://" + cfg.HTTPAddr
	c.awaitReady(t)
	return c
}

// listen opens a stream and hands over its events, name and data, until the test ends.
func (c client) listen(t *testing.T, customer, lastID string) <-chan event {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.api+"/v1/inbox/stream", nil)
	require.NoError(t, err)
	token, _, err := c.issuer.Mint(customer, "")
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	res, err := (&http.Client{}).Do(req) // no time-out: it has no end
	require.NoError(t, err)
	require.Equal(t, 200, res.StatusCode)
	require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	out := make(chan event, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(out)
		var e event
		for in := bufio.NewScanner(res.Body); in.Scan(); {
			name, value, _ := strings.Cut(in.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.name = value
			case "data":
				e.data = value
			case "":
				if e.name != "" {
					out <- e
				}
				e = event{}
			}
		}
	}()
	t.Cleanup(func() { stop(); <-done; _ = res.Body.Close() })
	return out
}

type event struct{ id, name, data string }

// await takes events until one is as wanted.
func await(t *testing.T, events <-chan event, limit time.Duration, want func(event) bool) event {
	t.Helper()
	deadline := time.After(limit)
	for {
		select {
		case e, ok := <-events:
			require.True(t, ok, "the stream has ended")
			if want(e) {
				return e
			}
		case <-deadline:
			require.Fail(t, "the event did not come within "+limit.String())
		}
	}
}

// distribution describes how long something took.
func distribution(took []time.Duration) string {
	slices.Sort(took)
	at := func(q float64) time.Duration {
		return took[min(len(took)-1, int(q*float64(len(took))))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("n=%d min=%v p50=%v p90=%v max=%v", len(took), at(0), at(.5), at(.9), took[len(took)-1].Round(100*time.Microsecond))
}
