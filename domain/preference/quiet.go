package preference

import (
	"fmt"
	"regexp"
	"time"

	"accord/domain/fault"
)

// QuietHours are when the customer wants no push but what is required: each day from Start until End by the clock on the
// wall in Zone, through midnight where End is not after Start. The zero value is none.
type QuietHours struct {
	Start string `json:"start,omitempty"` // hh:mm
	End   string `json:"end,omitempty"`
	Zone  string `json:"zone,omitempty"` // IANA name
}

// QuietChoice is what the customer chose, or that they chose none. A zero At means that they never did.
type QuietChoice struct {
	QuietHours
	At     time.Time `json:"at,omitzero"`
	Source Source    `json:"source,omitempty"`
}

// QuietHours the customer has.
func (p Preferences) QuietHours() QuietChoice { return p.quiet }

// NewQuietHours checks them; every broken rule is reported at once.
func NewQuietHours(start, end, zone string) (QuietHours, error) {
	var bad []fault.Field
	_, okStart := minutes(start)
	_, okEnd := minutes(end)
	for _, f := range []struct {
		path string
		ok   bool
	}{{"start", okStart}, {"end", okEnd}} {
		if !f.ok {
			bad = append(bad, fault.Field{Path: "quiet_hours." + f.path, Code: "invalid_time", Message: "must be a time of day from 00:00 to 23:59, as hh:mm"})
		}
	}
	if okStart && okEnd && start == end {
		bad = append(bad, fault.Field{Path: "quiet_hours.end", Code: "empty_quiet_hours", Message: "must differ from start; to get no push at all, switch push off"})
	}
	if _, known := zoneOf(zone); !known {
		bad = append(bad, fault.Field{Path: "quiet_hours.time_zone", Code: "unknown_time_zone", Message: "must be a name of the IANA time zone database, such as Europe/Zurich"})
	}
	if len(bad) > 0 {
		return QuietHours{}, fault.OnFields(bad...)
	}
	return QuietHours{Start: start, End: end, Zone: zone}, nil
}

// SetQuietHours sets them; the zero value removes them. Setting them is a Withdrawal, also where they become shorter: it must
// not be refused, and what was quiet before stays so until it is applied.
func SetQuietHours(q QuietHours, wording *Wording) (Change, error) {
	return withWording(changeDoc{Quiet: &q}, wording)
}

// WithQuietHours adds quiet hours, see SetQuietHours, to what else the change says about push.
func (c Change) WithQuietHours(q QuietHours) Change {
	c.c.Quiet = &q
	return c
}

func (c Change) removesQuietHours() bool { return c.c.Quiet != nil && c.c.Quiet.IsNone() }

// IsNone reports that there are none.
func (q QuietHours) IsNone() bool { return q == QuietHours{} }

// String is what targets are told: "22:00-07:00 Europe/Zurich".
func (q QuietHours) String() string {
	if q.IsNone() {
		return ""
	}
	return fmt.Sprintf("%s-%s %s", q.Start, q.End, q.Zone)
}

var timeOfDay = regexp.MustCompile(`^([01][0-9]|2[0-3]):([0-5][0-9])$`)

// minutes since midnight, as the clock on the wall shows them.
func minutes(s string) (int, bool) {
	if !timeOfDay.MatchString(s) {
		return 0, false
	}
	digit := func(i int) int { return int(s[i] - '0') }
	return (digit(0)*10+digit(1))*60 + digit(3)*10 + digit(4), true
}

// Until is when the quiet that is on at now ends, and whether any is. A zero now is in no quiet hours: for questions that
// are not about a moment. Where the clocks go forward over the start or the end, it is when they do; where they go back and
// show it twice, quiet is from the first start until the second end.
func (q QuietHours) Until(now time.Time) (end time.Time, on bool) {
	if q.IsNone() || now.IsZero() {
		return time.Time{}, false
	}
	zone, known := zoneOf(q.Zone)
	if !known { // it was, when they were set: this machine's database is older
		return time.Time{}, true
	}
	from, _ := minutes(q.Start)
	to, _ := minutes(q.End)
	if to <= from {
		to += 24 * 60
	}
	year, month, day := now.In(zone).Date()
	end = now
	for back := 2; back >= -1; back-- { // days that are repeated or left out at the date line are looked at too
		midnight := time.Date(year, month, day-back, 0, 0, 0, 0, time.UTC)
		if begins := firstShown(zone, midnight.Add(time.Duration(from)*time.Minute)); end.Before(begins) {
			break
		}
		if ends := lastShown(zone, midnight.Add(time.Duration(to)*time.Minute)); end.Before(ends) {
			end, on = ends, true
		}
	}
	if !on {
		return time.Time{}, false
	}
	return end, on
}

// firstShown is the first moment at which the zone's clocks show the time on the wall (given as if it were UTC) or are
// past it.
func firstShown(zone *time.Location, wall time.Time) time.Time {
	var first time.Time
	eachPeriod(zone, wall, func(begins, ends time.Time, offset time.Duration) bool {
		first = latest(begins, wall.Add(-offset))
		return !first.Before(ends)
	})
	return first.UTC()
}

// lastShown is the moment from which on the zone's clocks are at the time on the wall or past it for good.
func lastShown(zone *time.Location, wall time.Time) time.Time {
	var last time.Time
	eachPeriod(zone, wall, func(begins, ends time.Time, offset time.Duration) bool {
		if shown := wall.Add(-offset); shown.After(begins) {
			last = earliest(ends, shown)
		}
		return true
	})
	return last.UTC()
}

// eachPeriod goes through the times around a time on the wall between which the zone's offset does not change, until visit
// says false.
func eachPeriod(zone *time.Location, wall time.Time, visit func(begins, ends time.Time, offset time.Duration) bool) {
	const around = 48 * time.Hour // more than any offset, and any jump over the date line
	stop := wall.Add(around)
	for at := wall.Add(-around); at.Before(stop); {
		local := at.In(zone)
		_, seconds := local.Zone()
		_, ends := local.ZoneBounds()
		if ends.IsZero() || ends.After(stop) {
			ends = stop
		}
		if !visit(at, ends, time.Duration(seconds)*time.Second) {
			return
		}
		at = ends
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func applyQuietHours(p *Preferences, d changeDoc, at time.Time, source Source) error {
	if d.Quiet != nil {
		p.quiet = QuietChoice{QuietHours: *d.Quiet, At: at, Source: source}
	}
	return nil
}

// desireQuietHours: none is nothing held. The zone stays when quiet hours go, as a fact about the customer that no choice
// of theirs takes back, so it is only ever set.
func (p Preferences) desireQuietHours(h Holding) {
	if p.quiet.IsNone() {
		return
	}
	h[Item{Kind: QuietItem}] = State(p.quiet.String())
	h[Item{Kind: ZoneItem}] = State(p.quiet.Zone)
}

// quiet: what is to be quiet is so from the moment it is asked for.
func (h Hold) quiet(ch Channel, now time.Time) bool {
	if ch.Required {
		return false
	}
	_, on := h.hours.Until(now)
	return on
}

// TagAt is the tag of what a reader sees at a moment: quiet hours change what can be delivered, and what nobody has
// confirmed in time ends, without a change of the preferences. Accept takes it for the tag it was made of.
func TagAt(tag string, p Preferences, holds []Hold, now time.Time) string {
	if p.email.expired(now) {
		tag += momentMark + "expired"
	}
	if _, on := p.quiet.Until(now); on {
		tag += momentMark + "quiet"
	}
	for _, h := range holds {
		if _, on := h.hours.Until(now); on {
			return tag + momentMark + "hold"
		}
	}
	return tag
}

// momentMark is in no tag that Tag makes.
const momentMark = "~"
