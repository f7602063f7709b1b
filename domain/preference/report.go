package preference

import "time"

// Report is what other systems are told of an operation that was applied: who, and what. It holds no token.
type Report struct {
	Customer    CustomerID        `json:"customer"`
	Version     int64             `json:"version"` // grows by one with each change: receivers order by it
	Operation   string            `json:"operation"`
	Number      int64             `json:"number"`
	Kind        Kind              `json:"kind"`
	Source      Source            `json:"source"`
	Cause       string            `json:"cause,omitempty"`
	Actor       ReportActor       `json:"actor"`
	DecidedAt   *time.Time        `json:"decided_at,omitempty"`
	Changed     map[string]Differ `json:"changed"`
	Preferences ReportPreferences `json:"preferences"`
}

// ReportActor says what kind of actor asked for it, not who.
type ReportActor struct {
	Type string `json:"type"`
}

// Differ is one thing before and after.
type Differ struct {
	Before any `json:"before"`
	After  any `json:"after"`
}

// ReportPreferences are the choices as this change made them.
type ReportPreferences struct {
	Push     bool                `json:"push"`
	Channels map[ChannelKey]bool `json:"channels"`
	Email    EmailStatus         `json:"email"`
}

// Report tells of the operation, once it is applied.
func (o *Operation) Report(cat *Catalogue) Report {
	before, after := Restore(o.Customer, o.Before, cat), Restore(o.Customer, o.After, cat)
	r := Report{Customer: o.Customer, Version: after.version, Operation: o.ID, Number: o.Number, Kind: o.Kind, Source: o.Source, Cause: o.Cause,
		Actor: ReportActor{o.Actor.Type}, Changed: map[string]Differ{},
		Preferences: ReportPreferences{Push: after.push.Enabled, Channels: map[ChannelKey]bool{}, Email: after.email.Status}}
	if !o.DecidedAt.IsZero() {
		r.DecidedAt = &o.DecidedAt
	}
	was, is := before.Facts(o.Change), after.Facts(o.Change)
	for path, value := range is {
		r.Changed[path] = Differ{was[path], value}
	}
	for path, value := range was {
		if _, both := is[path]; !both {
			r.Changed[path] = Differ{value, nil}
		}
	}
	for _, ch := range cat.channels {
		r.Preferences.Channels[ch.Key] = after.Channel(ch.Key).Enabled
	}
	return r
}
