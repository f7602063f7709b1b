package postgres_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/adapters/postgres"
	"accord/domain/engagement"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

// Whatever happens in whatever order, sent once or many times, counted early or late, added up or not: the measures are
// what somebody finds who reads the diary of all that happened and counts by hand.
func TestTheMeasuresAreWhatARecountFinds(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	rapid.Check(t, func(rt *rapid.T) {
		for _, table := range []string{"engagement_facts", "engagement_days", "engagement_presence", "engagement_customers", "client_events", "messages", "operations", "customers"} {
			exec(t, conn, `DELETE FROM `+table)
		}
		exec(t, conn, `UPDATE engagement_progress SET settled_until = 'epoch', checked_until = ''`)
		newDiary(t, rt, db, conn).live()
	})
}

const diaryDays = 5

func diaryDay(n int) time.Time { return today().AddDate(0, 0, n-diaryDays) }

// mark is something that counts once.
type mark struct {
	viewer  inbox.Viewer
	message inbox.MessageID
	kind    engagement.Kind
}

type chapter struct {
	day   time.Time
	prefs preference.Preferences
}

// diary is what happened, told without any of the code under test.
type diary struct {
	t    *testing.T
	rt   *rapid.T
	db   *postgres.DB
	conn *pgx.Conn

	messages map[inbox.MessageID]string // and their campaigns
	order    []inbox.MessageID
	sent     map[string]bool // by viewer and id
	present  map[time.Time]map[inbox.Viewer]bool
	opened   map[time.Time]map[inbox.Viewer]bool
	firsts   map[mark]time.Time
	lives    map[preference.CustomerID][]chapter
}

func newDiary(t *testing.T, rt *rapid.T, db *postgres.DB, conn *pgx.Conn) *diary {
	d := &diary{t: t, rt: rt, db: db, conn: conn, messages: map[inbox.MessageID]string{}, sent: map[string]bool{}, firsts: map[mark]time.Time{},
		present: map[time.Time]map[inbox.Viewer]bool{}, opened: map[time.Time]map[inbox.Viewer]bool{}, lives: map[preference.CustomerID][]chapter{}}
	for i := range diaryDays {
		d.present[diaryDay(i)], d.opened[diaryDay(i)] = map[inbox.Viewer]bool{}, map[inbox.Viewer]bool{}
	}
	for _, campaign := range []string{"spring", "summer", "summer", ""} {
		id := publish(t, conn, campaign, "of "+campaign, diaryDay(-1), 1)
		d.messages[id] = campaign
		d.order = append(d.order, id)
	}
	return d
}

func (d *diary) live() {
	d.rt.Repeat(map[string]func(*rapid.T){
		"events": d.sendEvents, "presence": d.bePresent, "receipt": d.acknowledge, "change": d.change,
		"count": func(rt *rapid.T) {
			_, _, _, err := d.db.CountChanges(d.t.Context(), rapid.IntRange(1, 3).Draw(rt, "at once"))
			require.NoError(rt, err)
		},
		"check": func(rt *rapid.T) {
			_, err := d.db.CheckCustomers(d.t.Context(), rapid.IntRange(1, 3).Draw(rt, "at once"))
			require.NoError(rt, err)
		},
		"add up": func(rt *rapid.T) {
			_, err := d.db.AddUp(d.t.Context(), rapid.IntRange(1, 5).Draw(rt, "at once"))
			require.NoError(rt, err)
		},
	})
	countAll(d.t, d.db)
	for repaired := int64(1); repaired > 0; {
		var err error
		for range 2 { // the first ends the round that is under way
			repaired, err = d.db.CheckCustomers(d.t.Context(), 100)
			require.NoError(d.rt, err)
		}
	}
	d.compare()
}

var diaryViewers = []inbox.Viewer{adaViewer, graceViewer, phoneViewer}

func drawMoment(rt *rapid.T) time.Time {
	return diaryDay(rapid.IntRange(0, diaryDays-1).Draw(rt, "day")).Add(time.Duration(rapid.IntRange(0, 86399).Draw(rt, "second")) * time.Second)
}

func (d *diary) sendEvents(rt *rapid.T) {
	viewer := rapid.SampledFrom(diaryViewers).Draw(rt, "viewer")
	var batch []ports.ClientEvent
	var want []ports.EventStatus
	fresh := map[mark]bool{}
	for range rapid.IntRange(1, 6).Draw(rt, "events") {
		id, at := fmt.Sprint("event-", rapid.IntRange(0, 9).Draw(rt, "id")), drawMoment(rt)
		e := opened(id, at)
		if rapid.Bool().Draw(rt, "converted") {
			e = converted(id, at, rapid.SampledFrom(append(slices.Clone(d.order), 1<<40)).Draw(rt, "message"))
		}
		batch = append(batch, e)
		want = append(want, d.take(viewer, e, fresh))
	}
	for n := range rapid.IntRange(1, 3).Draw(rt, "times") {
		got, err := d.db.RecordEvents(d.t.Context(), viewer, batch)
		require.NoError(rt, err)
		for i := range got {
			switch {
			case n == 0:
				require.Equal(rt, want[i], got[i], "%d of %+v", i, batch)
			case want[i] == yes:
				require.Equal(rt, dup, got[i])
			}
		}
	}
}

// take notes an event. Of several conversions of a message in one batch the earliest counts; fresh are those of the batch.
func (d *diary) take(viewer inbox.Viewer, e ports.ClientEvent, fresh map[mark]bool) ports.EventStatus {
	key, day := viewer.Key()+" "+e.ID, engagement.Day(e.At)
	_, known := d.messages[e.Message]
	switch {
	case d.sent[key]:
		return dup
	case e.Type == engagement.LinkConverted && !known:
		return no
	}
	d.sent[key] = true
	d.present[day][viewer] = true
	if e.Type == engagement.InboxOpened {
		d.opened[day][viewer] = true
		return yes
	}
	m := mark{viewer, e.Message, e.Type}
	if earlier, counted := d.firsts[m]; !counted || fresh[m] && day.Before(earlier) {
		d.firsts[m], fresh[m] = day, true
	}
	return yes
}

func (d *diary) bePresent(rt *rapid.T) {
	var all []ports.Presence
	for range rapid.IntRange(1, 5).Draw(rt, "viewers") {
		p := ports.Presence{Day: engagement.Day(drawMoment(rt)), Viewer: rapid.SampledFrom(diaryViewers).Draw(rt, "viewer")}
		all = append(all, p)
		d.present[p.Day][p.Viewer] = true
	}
	require.NoError(rt, d.db.RecordPresence(d.t.Context(), all))
}

// acknowledge leaves the fact that goes with a receipt, as whoever stores receipts does: the first time only.
func (d *diary) acknowledge(rt *rapid.T) {
	m := mark{rapid.SampledFrom(diaryViewers).Draw(rt, "viewer"), rapid.SampledFrom(d.order).Draw(rt, "message"),
		rapid.SampledFrom([]engagement.Kind{engagement.MessageSeen, engagement.MessageClicked}).Draw(rt, "kind")}
	if _, counted := d.firsts[m]; counted {
		return
	}
	d.firsts[m] = engagement.Day(drawMoment(rt))
	exec(d.t, d.conn, `INSERT INTO engagement_facts SELECT $1, $2, campaign, category, '', 1 FROM messages WHERE id = $3`, d.firsts[m], string(m.kind), int64(m.message))
}

func (d *diary) change(rt *rapid.T) {
	customer := rapid.SampledFrom([]preference.CustomerID{"ada", "grace", "linus"}).Draw(rt, "customer")
	life := d.lives[customer]
	p, first := preference.Defaults(customer, portstest.Catalogue()), 0
	if len(life) > 0 {
		p, first = life[len(life)-1].prefs, int(life[len(life)-1].day.Sub(diaryDay(0)).Hours()/24)
	}
	next, err := p.Apply(drawChange(rt), portstest.Noon, preference.FromCRM)
	if err != nil {
		return
	}
	day := diaryDay(rapid.IntRange(first, diaryDays-1).Draw(rt, "day"))
	d.lives[customer] = append(life, chapter{day, next})
	settle(d.t, d.conn, int64(len(life)+1), day.Add(time.Hour), next)
}

func drawChange(rt *rapid.T) preference.Change {
	on, channel := rapid.Bool().Draw(rt, "on"), rapid.SampledFrom([]preference.ChannelKey{"promotions", "news"}).Draw(rt, "channel")
	device := rapid.SampledFrom([]preference.DeviceID{"phone", "tablet"}).Draw(rt, "device")
	var c preference.Change
	var err error
	switch rapid.IntRange(0, 5).Draw(rt, "change") {
	case 0:
		c, err = preference.SwitchPush(&on, nil, nil)
	case 1:
		c, err = preference.SwitchPush(nil, map[preference.ChannelKey]bool{channel: on}, nil)
	case 2:
		c, err = preference.RegisterDevice(preference.Registration{Device: device, Platform: preference.IOS, Token: string(device),
			Permission: rapid.SampledFrom([]preference.Permission{preference.Granted, preference.Provisional, preference.Denied}).Draw(rt, "permission")})
	case 3:
		c, err = preference.SwitchDevice(device, &on, map[preference.ChannelKey]bool{channel: on})
	case 4:
		c = preference.ReleaseDevice(device)
	case 5:
		c, err = preference.SetEmail(rapid.SampledFrom([]preference.EmailStatus{preference.Subscribed, preference.Unsubscribed}).Draw(rt, "status"), nil)
	}
	require.NoError(rt, err)
	return c
}

// reached is the definition of docs/metrics.md, by hand. channel is empty for any.
func reached(p preference.Preferences, channel preference.ChannelKey) bool {
	if channel == "" {
		return slices.ContainsFunc([]preference.ChannelKey{"promotions", "loyalty", "news", "order_updates"}, func(k preference.ChannelKey) bool { return reached(p, k) })
	}
	s, required := p.Snapshot(), channel == "order_updates"
	if !s.Push.Enabled || !(required || s.Channels[channel].Enabled) || channel == "promotions" && s.Purposes["push-marketing"] == preference.ConsentWithdrawn {
		return false
	}
	return slices.ContainsFunc(s.Devices, func(dev preference.Device) bool {
		on, switched := dev.Channels[channel]
		return dev.Enabled && (dev.Permission == preference.Granted || dev.Permission == preference.Provisional) && (required || !switched || on)
	})
}

// stocks of customers at the end of a day.
func (d *diary) stocks(day time.Time, channel preference.ChannelKey) (known, withDevice, on, email int64) {
	for _, life := range d.lives {
		var last *preference.Preferences
		for i := range life {
			if !life[i].day.After(day) {
				last = &life[i].prefs
			}
		}
		if last == nil {
			continue
		}
		known++
		withDevice += one(len(last.Devices()) > 0)
		on += one(reached(*last, channel))
		email += one(last.Email().Status == preference.Subscribed)
	}
	return known, withDevice, on, email
}

func one(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

// moves of customers within a period.
func (d *diary) moves(from, to time.Time, channel preference.ChannelKey) (in, out int64) {
	for _, life := range d.lives {
		was := false
		for _, c := range life {
			is := reached(c.prefs, channel)
			if !c.day.Before(from) && !c.day.After(to) {
				switch {
				case is && !was:
					in++
				case was && !is && len(c.prefs.Devices()) > 0:
					out++
				}
			}
			was = is
		}
	}
	return in, out
}

func (d *diary) count(from, to time.Time, kind engagement.Kind, in func(inbox.MessageID) bool) (n int64) {
	for m, day := range d.firsts {
		if m.kind == kind && !day.Before(from) && !day.After(to) && in(m.message) {
			n++
		}
	}
	return n
}

func (d *diary) ofMessages(from, to time.Time, in func(inbox.MessageID) bool) engagement.Measures {
	seen, clicked, converted := d.count(from, to, engagement.MessageSeen, in), d.count(from, to, engagement.MessageClicked, in), d.count(from, to, engagement.LinkConverted, in)
	return engagement.Measures{MessageClick: &engagement.Rate{Numerator: clicked, Denominator: seen}, LinkConversion: &engagement.Rate{Numerator: converted, Denominator: clicked}}
}

func (d *diary) ofChannel(from, to time.Time, channel preference.ChannelKey) engagement.Measures {
	_, withDevice, on, _ := d.stocks(to, channel)
	_, _, before, _ := d.stocks(from.AddDate(0, 0, -1), channel)
	in, out := d.moves(from, to, channel)
	return engagement.Measures{PushOptIn: &engagement.Rate{Numerator: on, Denominator: withDevice}, PushOptOut: &engagement.Rate{Numerator: out, Denominator: before + in}}
}

func (d *diary) ofAll(from, to time.Time) engagement.Measures {
	m, push := d.ofMessages(from, to, func(inbox.MessageID) bool { return true }), d.ofChannel(from, to, "")
	m.PushOptIn, m.PushOptOut = push.PushOptIn, push.PushOptOut
	var open engagement.Rate
	for day := from; !day.After(to); day = day.AddDate(0, 0, 1) {
		open.Numerator += int64(len(d.opened[day]))
		open.Denominator += int64(len(d.present[day]))
	}
	known, _, _, email := d.stocks(to, "")
	m.InboxOpen, m.EmailOptIn = &open, &engagement.Rate{Numerator: email, Denominator: known}
	return m
}

func (d *diary) compare() {
	for _, period := range [][2]int{{0, diaryDays - 1}, drawPeriod(d.rt), drawPeriod(d.rt)} {
		first, last := diaryDay(period[0]), diaryDay(period[1])
		require.Equal(d.rt, d.ofAll(first, last), counts(d.t, d.db, first, last, engagement.ByDay).Total.Measures(), "%v", period)
		d.compareGroups(first, last)
	}
}

func drawPeriod(rt *rapid.T) [2]int {
	from := rapid.IntRange(0, diaryDays-1).Draw(rt, "from")
	return [2]int{from, rapid.IntRange(from, diaryDays-1).Draw(rt, "to")}
}

func (d *diary) compareGroups(first, last time.Time) {
	byChannel := counts(d.t, d.db, first, last, engagement.ByChannel)
	_, withDevice, _, _ := d.stocks(last, "")
	for _, channel := range []preference.ChannelKey{"promotions", "loyalty", "news", "order_updates"} {
		require.Equal(d.rt, d.ofChannel(first, last, channel), byChannel.Groups[string(channel)].OfChannel(withDevice), "%s", channel)
	}
	byCampaign, byCategory := counts(d.t, d.db, first, last, engagement.ByCampaign), counts(d.t, d.db, first, last, engagement.ByCategory)
	for _, campaign := range []string{"spring", "summer", ""} {
		want := d.ofMessages(first, last, func(id inbox.MessageID) bool { return d.messages[id] == campaign })
		require.Equal(d.rt, want, byCampaign.Groups[campaign].OfMessages(), "campaign %q", campaign)
		require.Equal(d.rt, want, byCategory.Groups["of "+campaign].OfMessages(), "category of %q", campaign)
	}
	byDay := counts(d.t, d.db, first, last, engagement.ByDay)
	period := engagement.Period{Before: byDay.Total.Before}
	for day := first; !day.After(last); day = day.AddDate(0, 0, 1) {
		period = period.Next(byDay.Groups[day.Format(time.DateOnly)].Within)
		require.Equal(d.rt, d.ofAll(day, day), period.Measures(), "%s", day)
	}
}
