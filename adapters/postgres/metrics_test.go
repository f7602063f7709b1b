package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"accord/adapters/postgres"
	"accord/domain/engagement"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

var (
	adaViewer   = inbox.CustomerViewer("ada")
	graceViewer = inbox.CustomerViewer("grace")
	phoneViewer = inbox.InstallationViewer("0b7f3c1a-0000-4000-8000-000000000001")
)

// today is the same for a whole run of the tests, also when they run around midnight.
var today = sync.OnceValue(func() time.Time { return engagement.Day(time.Now()) })

func opened(id string, at time.Time) ports.ClientEvent {
	return ports.ClientEvent{ID: id, Type: engagement.InboxOpened, At: at}
}

func converted(id string, at time.Time, m inbox.MessageID) ports.ClientEvent {
	return ports.ClientEvent{ID: id, Type: engagement.LinkConverted, At: at, Message: m}
}

// publish puts a message into the store, and into inboxes, in a given state.
func publish(t testing.TB, conn *pgx.Conn, campaign, category string, at time.Time, state int, to ...inbox.Viewer) (id inbox.MessageID) {
	t.Helper()
	audience := "personal"
	if len(to) == 0 {
		audience = "global"
	}
	require.NoError(t, conn.QueryRow(t.Context(), `INSERT INTO messages (source, external_id, audience, recipients, campaign, content, category,
		pinned, localized, targets, published_at, expires_at, leaving, undelivered, fingerprint, card, card_format, added, created_at, updated_at)
		VALUES ('shop', gen_random_uuid()::text, $1, $2, $3, '{}', $4, false, false, '{}', $5, $5::timestamptz + interval '100 days', false, 0, '', '', 1, 1, now(), now())
		RETURNING id`, audience, len(to), campaign, category, at).Scan(&id))
	for _, v := range to {
		exec(t, conn, `INSERT INTO inboxes (viewer) VALUES ($1) ON CONFLICT DO NOTHING`, v.Key())
		exec(t, conn, `INSERT INTO inbox_items (inbox_id, message_id, state, pinned, published_at, expires_at, added, changed)
			SELECT id, $2, $3, false, $4, $4::timestamptz + interval '100 days', 1, 1 FROM inboxes WHERE viewer = $1`, v.Key(), int64(id), state, at)
	}
	return id
}

func record(t testing.TB, db *postgres.DB, v inbox.Viewer, events ...ports.ClientEvent) []ports.EventStatus {
	t.Helper()
	out, err := db.RecordEvents(t.Context(), v, events)
	require.NoError(t, err)
	return out
}

func counts(t testing.TB, db *postgres.DB, from, to time.Time, by engagement.Grouping) ports.EngagementCounts {
	t.Helper()
	out, err := db.EngagementCounts(t.Context(), ports.EngagementQuery{From: from, To: to, By: by})
	require.NoError(t, err)
	return out
}

// whole is everything that was ever counted.
func whole(t testing.TB, db *postgres.DB) engagement.Counts {
	t.Helper()
	return counts(t, db, today().AddDate(-1, 0, 0), today().AddDate(0, 0, 2), engagement.ByDay).Total.Within
}

func countAll(t testing.TB, db *postgres.DB) (n int64) {
	t.Helper()
	for done := false; !done; {
		counted, _, d, err := db.CountChanges(t.Context(), 2)
		require.NoError(t, err)
		n, done = n+counted, d
	}
	return n
}

const (
	yes = ports.EventRecorded
	dup = ports.EventDuplicate
	no  = ports.EventRefused
)

func TestAnEventIsCountedOnceHoweverOftenItIsSent(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	noon := today().Add(-12 * time.Hour)
	yesterday := engagement.Day(noon)
	m := publish(t, conn, "spring", "promotions", noon.Add(-time.Hour), 1, adaViewer)
	batch := []ports.ClientEvent{opened("a", noon), opened("b", noon.Add(time.Hour)), converted("c", noon, m), converted("d", noon, m), opened("a", noon)}

	require.Equal(t, []ports.EventStatus{yes, yes, yes, yes, dup}, record(t, db, adaViewer, batch...))
	for range 3 {
		require.Equal(t, []ports.EventStatus{dup, dup, dup, dup, dup}, record(t, db, adaViewer, batch...))
	}
	require.Equal(t, []ports.EventStatus{dup, yes}, record(t, db, adaViewer, batch[1], opened("e", noon.Add(-24*time.Hour))), "a batch that is partly known")
	require.Equal(t, []ports.EventStatus{yes}, record(t, db, graceViewer, opened("a", noon)), "ids are a viewer's own")
	want := engagement.Counts{engagement.ViewerPresent: 2, engagement.InboxOpened: 2, engagement.LinkConverted: 1}
	require.Equal(t, want, counts(t, db, yesterday, yesterday, engagement.ByDay).Total.Within)
	require.Equal(t, map[string]engagement.Period{"spring": {Before: engagement.Counts{}, Within: engagement.Counts{engagement.LinkConverted: 1}}},
		counts(t, db, yesterday, yesterday, engagement.ByCampaign).Groups)
	require.EqualValues(t, 1, counts(t, db, yesterday.AddDate(0, 0, -1), yesterday.AddDate(0, 0, -1), engagement.ByDay).Total.Within[engagement.InboxOpened])
}

func TestAConversionNeedsAMessageThatTheViewerHas(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	now := time.Now()
	before := now.Add(-time.Hour)
	for name, tc := range map[string]struct {
		viewer  inbox.Viewer
		message inbox.MessageID
		want    ports.EventStatus
	}{
		"own":                        {adaViewer, publish(t, conn, "", "news", before, 1, adaViewer), yes},
		"own, expired or retracted":  {adaViewer, publish(t, conn, "", "news", before, 2, adaViewer), yes},
		"own, not shown yet":         {adaViewer, publish(t, conn, "", "news", before, 0, adaViewer), no},
		"somebody else's":            {adaViewer, publish(t, conn, "", "news", before, 1, graceViewer), no},
		"global":                     {adaViewer, publish(t, conn, "", "news", before, 1), yes},
		"global, on an installation": {phoneViewer, publish(t, conn, "", "news", before, 1), yes},
		"global, not published yet":  {adaViewer, publish(t, conn, "", "news", now.Add(time.Hour), 1), no},
		"personal, on installation":  {phoneViewer, publish(t, conn, "", "news", before, 1, adaViewer), no},
		"nobody's":                   {adaViewer, 1 << 40, no},
		"no name of any":             {adaViewer, -1, no},
	} {
		require.Equal(t, []ports.EventStatus{tc.want}, record(t, db, tc.viewer, converted("of "+name, before, tc.message)), name)
		require.Equal(t, []ports.EventStatus{map[bool]ports.EventStatus{true: dup, false: no}[tc.want == yes]},
			record(t, db, tc.viewer, converted("of "+name, before, tc.message)), "%s, again", name)
	}
	require.EqualValues(t, 4, whole(t, db)[engagement.LinkConverted])
}

func TestAConversionSentAgainAfterItsMessageIsGoneIsKnown(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	m := publish(t, conn, "", "news", time.Now().Add(-time.Hour), 1)
	event := converted("c", time.Now(), m)
	require.Equal(t, []ports.EventStatus{yes}, record(t, db, adaViewer, event))
	exec(t, conn, `DELETE FROM messages`)
	require.Equal(t, []ports.EventStatus{dup}, record(t, db, adaViewer, event))
	require.Equal(t, []ports.EventStatus{no}, record(t, db, adaViewer, converted("d", time.Now(), m)))
	var marks int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM link_conversions`).Scan(&marks))
	require.Zero(t, marks, "the mark goes with the message")
}

func TestEventsHappenNeitherTomorrowNorBeforeTheirMessage(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	published := today().Add(-36 * time.Hour)
	m := publish(t, conn, "", "news", published, 1)
	require.Equal(t, []ports.EventStatus{yes, yes}, record(t, db, adaViewer, opened("a", time.Now().AddDate(1, 0, 0)), converted("b", published.AddDate(0, 0, -5), m)))
	days := counts(t, db, today().AddDate(0, 0, -10), today().AddDate(2, 0, 0), engagement.ByDay).Groups
	require.Len(t, days, 2)
	require.EqualValues(t, 1, days[engagement.Day(published).Format(time.DateOnly)].Within[engagement.LinkConverted])
	require.Zero(t, counts(t, db, time.Now().AddDate(0, 0, 2), today().AddDate(2, 0, 0), engagement.ByDay).Total.Within[engagement.InboxOpened])
}

// Several processes get the same events at the same time, in another order each, as from a client that gave up waiting.
func TestEventsSentAtOnceAreCountedOnce(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	conn := connect(t, url)
	processes := []*postgres.DB{open(t, url), open(t, url), open(t, url)}
	var batch []ports.ClientEvent
	for i := range 30 {
		at := today().AddDate(0, 0, -1-i%3).Add(time.Hour)
		m := publish(t, conn, fmt.Sprint("campaign-", i%4), "news", at.Add(-time.Hour), 1)
		batch = append(batch, opened(fmt.Sprint("o", i), at), converted(fmt.Sprint("c", i), at, m))
	}
	var mu sync.Mutex
	recorded := map[string]int{}
	var all sync.WaitGroup
	for _, process := range processes {
		for range 4 {
			all.Go(func() {
				mine := slices.Clone(batch)
				rand.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
				statuses, err := process.RecordEvents(t.Context(), adaViewer, mine)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				for i, s := range statuses {
					if s == yes {
						recorded[mine[i].ID]++
					} else if s != dup {
						t.Errorf("%s is %s", mine[i].ID, s)
					}
				}
			})
		}
	}
	all.Wait()
	require.Len(t, recorded, len(batch))
	for id, n := range recorded {
		require.Equal(t, 1, n, id)
	}
	require.Equal(t, engagement.Counts{engagement.ViewerPresent: 3, engagement.InboxOpened: 3, engagement.LinkConverted: 30}, whole(t, processes[0]))
}

func TestAViewerIsPresentOnceADay(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	processes := []*postgres.DB{open(t, url), open(t, url)}
	var present []ports.Presence
	for i := range 50 {
		v := inbox.CustomerViewer(preference.CustomerID(fmt.Sprint("customer-", i)))
		present = append(present, ports.Presence{Day: today(), Viewer: v}, ports.Presence{Day: today().AddDate(0, 0, -1), Viewer: v})
	}
	present = append(present, present[0], ports.Presence{Day: today()}, ports.Presence{Day: today(), Viewer: phoneViewer})
	var all sync.WaitGroup
	for _, process := range processes {
		for range 4 {
			all.Go(func() {
				mine := slices.Clone(present)
				rand.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
				if err := process.RecordPresence(t.Context(), mine); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	require.Equal(t, []ports.EventStatus{yes}, record(t, processes[0], phoneViewer, opened("a", today())))
	require.EqualValues(t, 101, whole(t, processes[0])[engagement.ViewerPresent], "who was there anyway is not counted again for an event")
}

// What is answered stays the same while facts are added up by several at once.
func TestAddingUpChangesNoAnswer(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	conn := connect(t, url)
	processes := []*postgres.DB{open(t, url), open(t, url)}
	exec(t, conn, `INSERT INTO engagement_facts SELECT current_date - n % 3, CASE n % 2 WHEN 0 THEN 'message_seen' ELSE 'message_clicked' END,
		'c' || n % 7, 'news', '', 1 FROM generate_series(1, 6000) n`)
	exec(t, conn, `INSERT INTO engagement_days SELECT current_date - n % 3, 'message_seen', 'c' || n % 7, 'news', '', 10 FROM generate_series(0, 20) n`)
	want := counts(t, processes[0], today().AddDate(0, 0, -5), today().AddDate(0, 0, 1), engagement.ByCampaign)
	require.EqualValues(t, 3210, want.Total.Within[engagement.MessageSeen])
	var adding, reading sync.WaitGroup
	done := make(chan struct{})
	var mu sync.Mutex
	moved := int64(0)
	for _, process := range processes {
		for range 3 {
			adding.Go(func() {
				for {
					n, err := process.AddUp(t.Context(), 97)
					if err != nil {
						t.Error(err)
					}
					if err != nil || n == 0 {
						return
					}
					mu.Lock()
					moved += n
					mu.Unlock()
				}
			})
		}
		reading.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				got, err := process.EngagementCounts(t.Context(), ports.EngagementQuery{From: today().AddDate(0, 0, -5), To: today().AddDate(0, 0, 1), By: engagement.ByCampaign})
				if err != nil {
					t.Error(err)
					return
				}
				if got.Total.Within[engagement.MessageSeen] != 3210 {
					t.Errorf("seen is %d in between", got.Total.Within[engagement.MessageSeen])
				}
			}
		})
	}
	adding.Wait()
	close(done)
	reading.Wait()
	for n := int64(1); n > 0; { // what each left to the others
		var err error
		n, err = processes[0].AddUp(t.Context(), 1000)
		require.NoError(t, err)
		moved += n
	}
	require.EqualValues(t, 6000, moved)
	require.Equal(t, want, counts(t, processes[1], today().AddDate(0, 0, -5), today().AddDate(0, 0, 1), engagement.ByCampaign))
}

func TestMarksAreForgottenWhenTheyAreNoLongerNeeded(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db := open(t, url)
	old, recent := today().AddDate(0, 0, -20), today().AddDate(0, 0, -3)
	record(t, db, adaViewer, opened("old", old), opened("recent", recent))
	before := whole(t, db)
	forgotten, err := db.ForgetMarks(t.Context(), today().AddDate(0, 0, -10), 100)
	require.NoError(t, err)
	require.EqualValues(t, 3, forgotten, "the event, and that its viewer was there and opened the inbox")
	require.Equal(t, before, whole(t, db), "what is counted stays")
	require.Equal(t, []ports.EventStatus{dup}, record(t, db, adaViewer, opened("recent", recent)))
}
