package preferences

import (
	"context"
	"time"

	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

var _ ports.DeviceUpkeep = (*Service)(nil)

// pruneBatch is how many devices one step takes away at most, so that a day on which very many fall silent does not keep
// the vendors from what customers ask for; pageSize is how many are looked up at once.
const (
	pruneBatch = 200
	pageSize   = 500
)

// repeats answers a registration that says what holds already: apps register at every launch, and most of these say nothing
// new. Nothing is written then. Not so when somebody else has the token, or is about to: whose it is goes by who claimed it
// last, which has to be recorded.
func (s *Service) repeats(ctx context.Context, c ports.ChangeCommand) (view ports.PreferenceView, repeated bool, err error) {
	if s.RefreshAfter <= 0 || c.Key != "" || c.Change.Token() == "" || c.Source != preference.FromApp {
		return view, false, nil
	}
	acc, err := s.Accounts.Load(ctx, c.Customer)
	now := s.Now()
	if err != nil || !acc.Repeats(preference.Request{Change: c.Change, IfMatch: c.IfMatch}, now.Add(-s.RefreshAfter), now) {
		return view, false, err
	}
	contested, err := s.Devices.Contested(ctx, c.Change.Token(), c.Customer)
	return viewOf(acc.Preferences(), nil, acc.Tag(), now), err == nil && !contested, err
}

// PruneToken implements ports.DeviceUpkeep. Whoever has the token is asked for first; what then holds is decided under each
// one's lock.
func (s *Service) PruneToken(ctx context.Context, p ports.TokenPrune) ([]string, error) {
	found := p.DecidedAt
	if found.IsZero() || found.After(s.Now()) {
		found = s.Now()
	}
	holders, err := s.holders(ctx, p)
	var out []string
	for _, h := range holders {
		if err != nil {
			break
		}
		var op string
		if op, err = s.prune(ctx, h, found, found, p); op != "" {
			out = append(out, op)
		}
	}
	return out, err
}

func (s *Service) holders(ctx context.Context, p ports.TokenPrune) ([]ports.Holder, error) {
	switch {
	case p.Customer != "" && (p.Token != "" || p.Device != ""):
		acc, err := s.Accounts.Load(ctx, p.Customer)
		if err != nil {
			return nil, err
		}
		device, known := acc.Preferences().ByToken(p.Token)
		if p.Token == "" {
			device, known = acc.Preferences().Device(p.Device)
		}
		if !known {
			return nil, nil
		}
		return []ports.Holder{{Customer: p.Customer, Device: device}}, nil
	case p.Token != "":
		return s.Devices.Holders(ctx, p.Token, "")
	}
	return nil, fault.OnField("token", "required", "must name a token, or a customer's device")
}

// prune takes one device away that was not registered since a time, also where the push provider has found out: what it still lists would be sent to for nothing.
// The operation is empty when there was nothing to do.
func (s *Service) prune(ctx context.Context, h ports.Holder, since, decided time.Time, p ports.TokenPrune) (operation string, err error) {
	op, start, _, err := s.accept(ctx, s.NewID(), ports.ChangeCommand{Customer: h.Customer, Source: p.Source, Cause: p.Cause,
		Change: preference.PruneDevice(h.Device.ID, h.Device.Token, since), Actor: preference.System,
		Origin: consent.Origin{Source: string(p.Source)}, Only: []preference.Target{preference.CRM, preference.Push},
		Elsewhere: true, DecidedAt: decided})
	if f, is := fault.As(err); is && (f.Code == "unchanged" || f.Kind == fault.NotFound) {
		return "", nil // it went, or was registered again, before we had the lock
	}
	if err != nil {
		return "", err
	}
	if start != nil {
		err = s.begin(ctx, op, *start, false)
	}
	return op.ID, err
}

// PruneStale implements ports.DeviceUpkeep. Devices whose operation is under way still, such as during an outage, are passed
// over: they do not keep those behind them waiting.
func (s *Service) PruneStale(ctx context.Context) (ports.PrunedDevices, error) {
	var out ports.PrunedDevices
	before := s.Now().Add(-s.StaleAfter)
	for last := (ports.UnseenDevice{}); ; {
		page, err := s.Devices.Unseen(ctx, before, last, pageSize)
		if err != nil {
			return out, err
		}
		for _, d := range page {
			if out.Pruned == pruneBatch {
				out.More = true
				return out, nil
			}
			out.Found++
			pruned, err := s.pruneUnseen(ctx, d, before)
			if err != nil {
				return out, err
			}
			if pruned {
				out.Pruned++
			}
			last = d
		}
		if len(page) < pageSize {
			return out, nil
		}
	}
}

func (s *Service) pruneUnseen(ctx context.Context, d ports.UnseenDevice, before time.Time) (bool, error) {
	acc, err := s.Accounts.Load(ctx, d.Customer)
	if err != nil {
		return false, err
	}
	device, known := acc.Preferences().Device(d.Device)
	if !known || !device.LastSeen().Before(before) {
		return false, nil
	}
	op, err := s.prune(ctx, ports.Holder{Customer: d.Customer, Device: device}, before, time.Time{},
		ports.TokenPrune{Cause: preference.CauseStale, Source: preference.FromUpkeep})
	return op != "", err
}
