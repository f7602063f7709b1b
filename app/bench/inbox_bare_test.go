package bench

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// bareMessage is a message as the bare handler reads it from one row and shows it.
type bareMessage struct {
	ID             string     `json:"id"`
	Title          string     `json:"title"`
	Body           string     `json:"body"`
	Deeplink       *string    `json:"deeplink"`
	Expiry         time.Time  `json:"expiry"`
	Category       string     `json:"category"`
	Audience       string     `json:"audience"`
	PublishedAt    time.Time  `json:"published_at"`
	ImageURL       *string    `json:"image_url"`
	Pinned         bool       `json:"pinned"`
	Actions        []string   `json:"actions"`
	DeeplinkStatus string     `json:"deeplink_status"`
	SeenAt         *time.Time `json:"seen_at"`
	ReadAt         *time.Time `json:"read_at"`
	ClickedAt      *time.Time `json:"clicked_at"`
	ArchivedAt     *time.Time `json:"archived_at"`
}

type barePage struct {
	Messages   []bareMessage `json:"messages"`
	NextCursor *string       `json:"next_cursor"`
}

// startBareFeed is what the feed is held against: Gin and pgx, one keyset query, no token, no counts, no version, no global
// messages; and Gin answering the same bytes every time.
func startBareFeed(b *testing.B, url string, connections int, constant []byte) (addr string, handler http.Handler) {
	b.Helper()
	config, err := pgxpool.ParseConfig(url)
	require.NoError(b, err)
	config.MaxConns, config.MinConns = int32(connections), int32(connections)
	pool, err := pgxpool.NewWithConfig(b.Context(), config)
	require.NoError(b, err)
	b.Cleanup(pool.Close)
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.GET("/constant", func(g *gin.Context) { g.Data(http.StatusOK, "application/json", constant) })
	engine.GET("/feed/:customer", func(g *gin.Context) {
		rows, err := pool.Query(g.Request.Context(), `SELECT id, title, body, deeplink, expiry, category, audience, published_at, image_url, pinned,
			  NULL::text[], deeplink_status, seen_at, read_at, clicked_at, archived_at
			FROM bare_messages WHERE customer = $1 AND (published_at, id) < ($2, $3) ORDER BY published_at DESC, id DESC LIMIT 20`,
			g.Param("customer"), time.Now(), "")
		if err == nil {
			var page barePage
			if page.Messages, err = pgx.CollectRows(rows, pgx.RowToStructByPos[bareMessage]); err == nil {
				g.JSON(http.StatusOK, page)
				return
			}
		}
		g.String(http.StatusInternalServerError, "%v", err)
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	server := &http.Server{Handler: engine, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(ln) }()
	stop(b, "the bare server", func(ctx context.Context) error { return server.Shutdown(ctx) })
	return ln.Addr().String(), engine
}
