package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"accord/domain/inbox"
)

// compareWrites holds publishing and acknowledging against the database writing the same rows for pgx alone, through as
// many connections and in as many round trips, and both against a transaction that updates one row.
func (r *inboxRig) compareWrites(b *testing.B) {
	b.Helper()
	publisher, _, err := r.api.issuer.Mint("campaigns", "messages:write")
	require.NoError(b, err)
	unread := r.unread(b)
	next := func() unreadItem { return unread[int(r.next.Add(1))%len(unread)] }
	publish := func() []byte {
		n := r.next.Add(1)
		body := fmt.Sprintf(`{"source":"bench","external_id":"p%d","audience":{"type":"customers","ids":["%s"]},"title":"Your parcel %d","body":"It will be with you soon.","deeplink":"app://orders/%d","category":"orders"}`, n, r.names[r.anybody()], n, n)
		return request(http.MethodPost, "/v1/messages", body, "Authorization", "Bearer "+publisher)
	}
	contenders := []contender{
		{name: "update of one row", op: func(ctx context.Context) error {
			_, err := r.pool.Exec(ctx, `UPDATE inboxes SET touched_at = now() WHERE id = $1`, 1+rand.N(r.data.customers))
			return err
		}},
		{name: "rows of an acknowledgement", op: func(ctx context.Context) error { return r.acknowledgeBare(ctx, next()) }},
		{name: "acknowledge", op: func(ctx context.Context) error { return r.lines.do(ctx, next().request, 200, nil) },
			allocates: func(b *testing.B) float64 {
				return allocations(b, r.api.handler, 200, func() []byte { return next().request })
			}},
		{name: "rows of a message", op: func(ctx context.Context) error { return r.publishBare(ctx, r.next.Add(1)) }},
		{name: "publish", op: func(ctx context.Context) error { return r.lines.do(ctx, publish(), 201, nil) },
			allocates: func(b *testing.B) float64 { return allocations(b, r.api.handler, 201, publish) }},
	}
	var notes []string
	for _, clients := range []int{1, readsAt} {
		measured := rounds(b, clients, window(b), r.watched, contenders)
		notes = append(notes,
			goal(b, fmt.Sprintf("acknowledge at %d clients to the same rows", clients), ratios(measured[2], measured[1], rate), .5, false),
			goal(b, fmt.Sprintf("publish at %d clients to the same rows", clients), ratios(measured[4], measured[3], rate), .5, false))
		r.print(b, clients, contenders, measured, nil)
	}
	fmt.Fprintln(os.Stdout, strings.Join(notes, "\n"))
}

// unreadItem is a message in an inbox that can be marked as read.
type unreadItem struct {
	viewer         string
	inbox, message int64
	request        []byte
}

// acknowledgeBare writes the rows that an acknowledgement writes: lock and read, then store.
func (r *inboxRig) acknowledgeBare(ctx context.Context, item unreadItem) error {
	return r.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		var read, store pgx.Batch
		read.Queue("BEGIN")
		read.Queue(`SELECT id, version FROM inboxes WHERE viewer = $1 FOR NO KEY UPDATE`, item.viewer)
		read.Queue(`SELECT seen_at, read_at FROM inbox_items WHERE inbox_id = $1 AND message_id = $2`, item.inbox, item.message)
		if err := c.SendBatch(ctx, &read).Close(); err != nil {
			return err
		}
		store.Queue(`UPDATE inboxes SET version = version + 1, touched_at = now() WHERE id = $1`, item.inbox)
		store.Queue(`UPDATE inbox_items SET read_at = now(), changed = changed + 1 WHERE inbox_id = $1 AND message_id = $2`, item.inbox, item.message)
		store.Queue(`INSERT INTO engagement_facts VALUES (current_date, 'bare', '', 'orders', '', 1)`)
		store.Queue(`INSERT INTO stream_events (viewers, kind, data) VALUES (ARRAY[$1::text], 'inbox.changed', '{"own":1}')`, item.viewer)
		store.Queue("COMMIT")
		return c.SendBatch(ctx, &store).Close()
	})
}

// publishBare writes the rows that a message to one customer writes.
func (r *inboxRig) publishBare(ctx context.Context, n int64) error {
	box := int64(1 + rand.N(r.data.customers))
	return r.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		var first, second pgx.Batch
		var id int64
		first.Queue("BEGIN")
		first.Queue(`INSERT INTO messages (source, external_id, audience, recipients, campaign, content, category, pinned, localized, targets, published_at,
			  expires_at, undelivered, leaving, fingerprint, card, card_format, added, created_at, updated_at)
			VALUES ('bare', $1, 'personal', 1, '', $2, 'orders', false, false, '{orders}', now(), now() + interval '30 days', 0, false, '\x00', '', 0, 0, now(), now())
			RETURNING id`, strconv.FormatInt(n, 10), `{"title":"Your parcel","body":"It will be with you soon.","link":"app://orders/1"}`).
			QueryRow(func(row pgx.Row) error { return row.Scan(&id) })
		if err := c.SendBatch(ctx, &first).Close(); err != nil {
			return err
		}
		second.Queue(`UPDATE inboxes SET version = version + 1, total = total + 1 WHERE id = $1`, box)
		second.Queue(`INSERT INTO inbox_items (inbox_id, message_id, state, pinned, published_at, expires_at, added, changed, card, card_format, targets)
			VALUES ($1, $2, 1, false, now(), now() + interval '30 days', 1, 1, $3, 1, '{orders}')`, box, id, string(r.body[:min(400, len(r.body))]))
		second.Queue(`INSERT INTO stream_events (viewers, kind, data) VALUES ('{c:s}', 'inbox.changed', '{"own":1}')`)
		second.Queue("COMMIT")
		return c.SendBatch(ctx, &second).Close()
	})
}

// unread are messages that can be marked as read, in any order.
func (r *inboxRig) unread(b *testing.B) (out []unreadItem) {
	b.Helper()
	for i, name := range r.names {
		rows, err := r.pool.Query(b.Context(), `SELECT i.inbox_id, i.message_id FROM inbox_items i JOIN inboxes b ON b.id = i.inbox_id
			WHERE b.viewer = $1 AND i.state = 1 AND i.read_at IS NULL AND i.archived_at IS NULL`, "c:"+name)
		require.NoError(b, err)
		var u unreadItem
		_, err = pgx.ForEachRow(rows, []any{&u.inbox, &u.message}, func() error {
			u.viewer = "c:" + name
			u.request = request(http.MethodPost, "/v1/inbox/messages/"+inbox.MessageID(u.message).String()+"/acknowledge", `{"state":"read"}`, "Authorization", "Bearer "+r.tokens[i])
			out = append(out, u)
			return nil
		})
		require.NoError(b, err)
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}
