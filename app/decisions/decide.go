package decisions

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// Why the system that told us has to be told something else.
const (
	causeSuperseded = "superseded_decision"
	causeRequired   = "required_channel"
	causeEcho       = "late_echo"
	causeMasked     = "masked_decision" // what was decided there does not take effect, as something else forbids it
)

// decide works on one event. What it answers is nil only when all of the event is dealt with.
func (s *Service) decide(ctx context.Context, d delivery, e ports.WebhookEvent, out *ports.ReceivedEvent) error {
	told := e.Told
	if now := s.Now(); told.At.After(now) {
		told.At = now // whatever another machine's clock says
	}
	account, err := s.Accounts.Load(ctx, told.Customer)
	if err != nil {
		return err
	}
	ev := event{delivery: d, id: e.ID, told: told, origin: d.src.From.Origin(), fingerprint: fingerprint(e.Told)}
	expected := account.Expected()
	parts := expected.Told(told, ev.origin)
	if len(parts) == 0 {
		out.Outcome, out.Reason = ports.DecisionIgnored, "nothing_told"
		return nil
	}
	if ev.origin != "" {
		from, to := window(told.At, s.Now())
		if ev.written, err = s.Store.WrittenTo(ctx, told.Customer, ev.origin, from, to); err != nil {
			return err
		}
	}
	for _, part := range parts {
		got, err := s.decidePart(ctx, ev, part, expected)
		if err != nil {
			return err
		}
		out.Add(got.outcome, got.reason, got.operation)
	}
	return nil
}

// window is when something may have been written that the event echoes.
func window(at, now time.Time) (from, to time.Time) {
	if at.IsZero() {
		at = now
	}
	return at.Add(-preference.EchoWindow), at.Add(preference.EchoWindow)
}

// event is one that is worked on.
type event struct {
	delivery
	id          string
	told        preference.Told
	origin      preference.Target // that it came from, empty when that is none
	written     []preference.Written
	fingerprint string
}

// became is what became of a part.
type became struct {
	outcome   ports.DecisionOutcome
	reason    string
	operation string
}

func (s *Service) decidePart(ctx context.Context, e event, part preference.Part, expected preference.Preferences) (became, error) {
	switch part.Why {
	case "":
	case "unchanged":
		return became{outcome: ports.DecisionUnchanged}, s.putRight(ctx, e, part, expected, causeMasked, preference.Withdrawal)
	case "channel_required":
		return became{outcome: ports.DecisionRequired}, s.putRight(ctx, e, part, expected, causeRequired, "")
	default:
		return became{outcome: ports.DecisionIgnored, reason: part.Why}, nil
	}
	if part.Says != "" && expected.Echoes(part.Item, part.Says, e.told.At, s.Now(), e.origin, e.written) {
		// Where it is one the origin holds something else by now, and saying so again does no harm; where it is none after
		// all, it must not go on to send.
		return became{outcome: ports.DecisionEcho}, s.putRight(ctx, e, part, expected, causeEcho, preference.Withdrawal)
	}
	result, err := s.Preferences.Change(ctx, e.command(part.Name, part.Change))
	if err == nil {
		after := preference.Restore(e.told.Customer, result.Operation.After, expected.Catalogue())
		return became{outcome: ports.DecisionAccepted, operation: result.Operation.ID}, s.putRight(ctx, e, part, after, causeMasked, preference.Withdrawal)
	}
	return s.refused(ctx, e, part, err)
}

// refused tells what is wrong for good from what passes.
func (s *Service) refused(ctx context.Context, e event, part preference.Part, err error) (became, error) {
	f, is := fault.As(err)
	if !is {
		return became{}, err
	}
	switch f.Code {
	case "unchanged":
		return became{outcome: ports.DecisionUnchanged}, nil
	case "superseded":
		account, err := s.Accounts.Load(ctx, e.told.Customer) // with what has superseded it
		if err != nil {
			return became{}, err
		}
		return became{outcome: ports.DecisionSuperseded}, s.putRight(ctx, e, part, account.Expected(), causeSuperseded, "")
	case "idempotency-key-reused":
		return became{outcome: ports.DecisionIgnored, reason: "id_reused"}, nil
	}
	switch f.Kind {
	case fault.Conflict: // being erased, for one
		return became{outcome: ports.DecisionIgnored, reason: f.Code}, nil
	case fault.NotFound:
		return became{outcome: ports.DecisionIgnored, reason: "unknown_device"}, nil
	case fault.Invalid:
		return became{outcome: ports.DecisionIgnored, reason: "invalid"}, nil
	}
	return became{}, err
}

// putRight tells the origin what shall hold, where that is not what it has told us. With a kind, only where it is of that
// kind.
func (s *Service) putRight(ctx context.Context, e event, part preference.Part, shall preference.Preferences, cause string, only preference.Kind) error {
	kind, wrong := shall.Disagrees(e.origin, part.Item, part.Says)
	if e.origin == "" || !wrong || only != "" && kind != only {
		return nil
	}
	again, err := preference.Reaffirm(kind, []preference.Item{part.Item})
	if err != nil {
		return err
	}
	c := e.command(part.Name+":right", again)
	c.Source, c.Cause, c.Only = preference.FromReconciler, cause, []preference.Target{e.origin}
	c.Origin.Source = string(c.Source)
	c.Elsewhere, c.DecidedAt = false, time.Time{}
	_, err = s.Preferences.Change(ctx, c)
	if f, is := fault.As(err); is && (f.Kind == fault.Conflict || f.Kind == fault.Mismatch) { // being erased: nothing is to be put right any more
		return nil
	}
	return err
}

// command is the change, under a key that is the same whenever the event comes again.
func (e event) command(part string, c preference.Change) ports.ChangeCommand {
	return ports.ChangeCommand{Customer: e.told.Customer, Change: c, Source: e.src.From, Actor: consent.Actor{Type: "system", ID: "webhook:" + e.name},
		Origin: consent.Origin{Source: string(e.src.From), RequestID: e.requestID},
		Key:    "webhook:" + e.name + ":" + e.id + ":" + part, Fingerprint: e.fingerprint, Cause: e.told.Cause, Elsewhere: true, DecidedAt: e.told.At}
}

// fingerprint of what was told. What it becomes may be different when it comes again: a device may be gone.
func fingerprint(t preference.Told) string {
	text, err := json.Marshal(t)
	if err != nil {
		return "" // there is nothing in it that cannot be encoded
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
