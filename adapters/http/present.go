package httpapi

import (
	"encoding/hex"
	"time"

	"accord/domain/consent"
	"accord/domain/preference"
	"accord/ports"
)

// What follows turns the domain's values into the contract's shapes, and nothing else. A push token never gets this far:
// only its fingerprint does.

func presentPreferences(v ports.PreferenceView) Preferences {
	push := presentPush(v)
	return Preferences{Version: push.Version, Push: push, Email: presentEmail(v), Devices: push.Devices, Effective: push.Effective, QuietHours: push.QuietHours}
}

func presentPush(v ports.PreferenceView) PushPreferences {
	p := v.Preferences
	out := PushPreferences{Enabled: p.Push().Enabled, Ts: timeOrNull(p.Push().At), Source: string(p.Push().Source), Version: p.Version(),
		Channels: map[string]ChannelState{}, Devices: []Device{}, Effective: presentEffects(p.Effective(v.Holds, v.At)),
		QuietHours: presentQuietHours(p.QuietHours())}
	for _, ch := range p.Catalogue().Channels() {
		choice := p.Channel(ch.Key)
		out.Channels[string(ch.Key)] = ChannelState{Enabled: choice.Enabled, Ts: timeOrNull(choice.At), Source: string(choice.Source), Required: ch.Required}
	}
	for _, d := range p.Devices() {
		out.Devices = append(out.Devices, presentDevice(d))
	}
	return out
}

func presentQuietHours(q preference.QuietChoice) *QuietHours {
	if q.IsNone() {
		return nil
	}
	return &QuietHours{Start: q.Start, End: q.End, TimeZone: q.Zone, Ts: timeOrNull(q.At), Source: string(q.Source)}
}

func presentDevice(d preference.Device) Device {
	out := Device{DeviceId: string(d.ID), Platform: string(d.Platform), Permission: string(d.Permission), Enabled: d.Enabled,
		Channels: map[string]DeviceChannel{}, AppVersion: textOrNull(d.AppVersion), Locale: textOrNull(d.Locale),
		TokenFingerprint: preference.Fingerprint(d.Token), RegisteredAt: d.RegisteredAt.UTC(), UpdatedAt: d.UpdatedAt.UTC()}
	for key, on := range d.Channels {
		out.Channels[string(key)] = DeviceChannel{Enabled: on}
	}
	return out
}

func presentEffects(effects []preference.Effect) []Effect {
	out := make([]Effect, len(effects))
	for i, e := range effects {
		out[i] = Effect{Channel: string(e.Channel), DeviceId: string(e.Device), Deliverable: e.Deliverable, BlockedBy: texts(e.BlockedBy)}
	}
	return out
}

func presentEmail(v ports.PreferenceView) EmailPreferences {
	email := v.Preferences.Email()
	out := EmailPreferences{Version: v.Preferences.Version(), Marketing: EmailMarketing{Status: string(email.Status), Ts: timeOrNull(email.At),
		Source: string(email.Source), ConsentPurpose: textOrNull(string(v.Preferences.Catalogue().EmailPurpose()))}}
	if all := v.Preferences.Catalogue().Topics(); len(all) > 0 {
		topics := map[string]EmailTopic{}
		for _, t := range all {
			choice := v.Preferences.Topic(t.Key)
			topics[string(t.Key)] = EmailTopic{Enabled: choice.Enabled, Ts: timeOrNull(choice.At), Source: string(choice.Source)}
		}
		out.Topics = &topics
	}
	return out
}

// presentOperation for its customer; operators are told more, see presentToOperator.
func presentOperation(op ports.OperationState) Operation {
	out := Operation{Id: op.ID, Status: string(op.Status), Kind: string(op.Kind), Source: string(op.Source), Summary: op.Change.Summary(),
		Number: op.Number, AcceptedAt: op.AcceptedAt.UTC(), StartedAt: timeOrNull(op.StartedAt), SettledAt: timeOrNull(op.SettledAt),
		Deadline: timeOrNull(op.Deadline), Targets: map[string]TargetProgress{}, Reason: presentReason(op.Reason), Decision: textOrNull(string(op.Decision)),
		Cause: textOrNull(op.Cause), DecidedAt: timeOrNull(op.DecidedAt)}
	for _, t := range op.Operation.Targets {
		progress, begun := op.Progress[t]
		if !begun {
			progress.State = ports.TargetPending
		}
		out.Targets[string(t)] = TargetProgress{State: string(progress.State), Attempts: progress.Attempts, Code: textOrNull(progress.Code)}
	}
	return out
}

func presentReason(r *consent.Reason) *Reason {
	if r == nil {
		return nil
	}
	return &Reason{Code: r.Code, Target: textOrNull(r.Target), Detail: textOrNull(r.Detail)}
}

// presentEntry shows a line of the ledger. Customers are not told which member of staff acted.
func presentEntry(l consent.Line, toCustomer bool) AuditEntry {
	e := l.Entry
	out := AuditEntry{Seq: l.Seq, Event: string(e.Event), At: e.At, Operation: e.Operation, Number: e.Number, Kind: e.Kind,
		Actor: Actor{Type: e.Actor.Type, Id: textOrNull(e.Actor.ID)},
		Origin: Origin{Source: e.Origin.Source, Installation: textOrNull(e.Origin.Installation),
			AppVersion: textOrNull(e.Origin.AppVersion), Address: textOrNull(e.Origin.Address), RequestId: textOrNull(e.Origin.RequestID)},
		Before: facts(e.Before), After: facts(e.After), Version: e.Version, Reason: presentReason(e.Reason), NotUndone: texts(e.NotUndone),
		Cause: textOrNull(e.Cause), DecidedAt: e.DecidedAt, PrevHash: hex.EncodeToString(l.Prev[:]), Hash: hex.EncodeToString(l.Hash[:])}
	if toCustomer && e.Actor.Type == "operator" {
		out.Actor.Id = nil
	}
	if e.Wording != nil {
		out.Wording = &ShownWording{Id: e.Wording.ID, Locale: e.Wording.Locale, TextSha256: textOrNull(e.Wording.TextHash)}
	}
	return out
}

func facts(m map[string]any) Facts {
	if m == nil {
		return Facts{}
	}
	return m
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func textOrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// texts is never nil: an empty list is [] in JSON, not null.
func texts[S ~string](in []S) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = string(s)
	}
	return out
}
