package httpapi

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"accord/domain/inbox"
	"accord/ports"
)

// These answer how much of a request is ours: the anonymous feed beside a bare Gin handler that writes as many constant
// bytes, without a network (BenchmarkHandler) and with one (BenchmarkWire).

// constantInbox has the same page for everybody, at no cost.
type constantInbox struct {
	ports.Inbox
	page ports.FeedPage
}

func (c *constantInbox) Feed(context.Context, ports.FeedQuery) (ports.FeedPage, error) {
	return c.page, nil
}

func benchPage(b *testing.B) *constantInbox {
	b.Helper()
	m := &inbox.Message{ID: 1, Audience: inbox.Global, PublishedAt: time.Unix(1, 0), Expiry: time.Unix(1<<32, 0), Content: inbox.Content{
		Text: inbox.Text{Title: "Twenty per cent off everything this week", Body: strings.Repeat("Come and see. ", 12)}, Category: "promotions", Link: "app://offers/42"}}
	page := ports.FeedPage{InboxState: ports.InboxState{Tag: "0123456789abcdef", Version: inbox.Version{Global: 7}, Counts: inbox.Counts{Total: 20, Unseen: 20, Unread: 20},
		Freshness: ports.Freshness{AsOf: time.Now(), FreshUntil: time.Now().Add(time.Hour)}}}
	for i := range 20 {
		page.Messages = append(page.Messages, ports.FeedEntry{ID: inbox.MessageID(i + 1), Card: NewCards().Card(m, nil, nil)})
	}
	return &constantInbox{page: page}
}

func benchHandlers(b *testing.B) map[string]http.Handler {
	b.Helper()
	box := benchPage(b)
	body := appendPage(nil, box.page)
	constant := gin.New()
	constant.GET("/v1/inbox", func(g *gin.Context) { g.Data(http.StatusOK, "application/json", body) })
	feed := newAPI(b, func(cfg *Config) {
		cfg.Inbox = box
		cfg.Logger = slog.New(slog.NewJSONHandler(io.Discard, nil)) //nolint:sloglint // what a line of the log costs counts too
	}).engine.Handler()
	counted := newAPI(b, func(cfg *Config) {
		cfg.Inbox = box
		cfg.Logger = slog.New(slog.NewJSONHandler(io.Discard, nil)) //nolint:sloglint // as above
		enough := RateLimit{Rate: 1e9, Burst: 1e9}
		cfg.Limits = RateLimits{Customer: enough, Address: enough}
	}).engine.Handler()
	return map[string]http.Handler{"constant": constant, "anonymous": headAsGet(feed), "signed in": headAsGet(feed), "304": headAsGet(feed),
		"anonymous, limited": headAsGet(counted), "signed in, limited": headAsGet(counted)}
}

func benchRequest(name string) *http.Request {
	req := httptest.NewRequest("GET", "/v1/inbox?limit=20", nil)
	req.Header.Set("Accept-Language", "de-CH, de;q=0.9, en;q=0.5")
	switch name {
	case "signed in", "signed in, limited":
		req.Header.Set("Authorization", "Bearer ada")
	case "304":
		req.Header.Set("If-None-Match", `W/"0123456789abcdef"`)
	}
	return req
}

func BenchmarkHandler(b *testing.B) {
	for name, handler := range benchHandlers(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			defer processorTime(b)()
			b.RunParallel(func(pb *testing.PB) {
				req, w := benchRequest(name), &discard{}
				for pb.Next() {
					w.header = http.Header{}
					handler.ServeHTTP(w, req)
				}
				if w.status >= 400 {
					b.Errorf("status %d", w.status)
				}
			})
		})
	}
}

type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

func BenchmarkWire(b *testing.B) {
	for name, handler := range benchHandlers(b) {
		b.Run(name, func(b *testing.B) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(b, err)
			server := NewServer(handler, listener.Addr().String())
			go func() { _ = server.Serve(listener) }()
			defer func() { _ = server.Close() }()
			var raw strings.Builder
			req := benchRequest(name)
			req.Host = "accord"
			require.NoError(b, req.Write(&raw))
			b.SetParallelism(8)
			b.ResetTimer()
			defer processorTime(b)()
			b.RunParallel(func(pb *testing.PB) {
				conn, err := net.Dial("tcp", listener.Addr().String())
				if err != nil {
					b.Error(err)
					return
				}
				defer func() { _ = conn.Close() }()
				answers := bufio.NewReaderSize(conn, 64<<10)
				for pb.Next() {
					if _, err := io.WriteString(conn, raw.String()); err != nil {
						b.Error(err)
						return
					}
					if err := skipAnswer(answers); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

// processorTime reports what a round costs of a processor, which says more than the clock on a machine that others use too.
func processorTime(b *testing.B) (report func()) {
	used := func() time.Duration {
		var u syscall.Rusage
		require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric(float64((used()-before).Nanoseconds())/float64(b.N), "cpu-ns/op") }
}

// skipAnswer reads one answer without looking at it more than is needed to find its end: a client that costs much would
// hide what the server costs.
func skipAnswer(r *bufio.Reader) error {
	length, chunked := 0, false
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		text := string(line)
		switch {
		case text == "\r\n" && chunked:
			return skipChunks(r)
		case text == "\r\n":
			_, err := r.Discard(length)
			return err
		case strings.HasPrefix(text, "Content-Length: "):
			if length, err = strconv.Atoi(strings.TrimSpace(text[len("Content-Length: "):])); err != nil {
				return err
			}
		case strings.HasPrefix(text, "Transfer-Encoding: chunked"):
			chunked = true
		}
	}
}

func skipChunks(r *bufio.Reader) error {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(strings.TrimSpace(string(line)), 16, 32)
		if err != nil {
			return err
		}
		if _, err := r.Discard(int(size) + 2); err != nil || size == 0 {
			return err
		}
	}
}
