package subscribers

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/preference"
	"accord/domain/webhook"
	"accord/ports"
	"accord/ports/mocks"
)

var now = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func rig(t *testing.T) (*Service, *mocks.MockEndpointStore, *mocks.MockWebhookSender) {
	ctrl := gomock.NewController(t)
	store, sender := mocks.NewMockEndpointStore(ctrl), mocks.NewMockWebhookSender(ctrl)
	cat, err := preference.NewCatalogue("", preference.Channel{Key: "news"})
	require.NoError(t, err)
	return New(Config{Store: store, Sender: sender, Catalogue: cat, Now: func() time.Time { return now }, NewID: func() string { return "we_1" },
		Observe: func(string) {}, Logger: slog.New(slog.DiscardHandler)}), store, sender
}

// TestWhatAnEndpointIsThoughtOf after attempts.
func TestWhatAnEndpointIsThoughtOf(t *testing.T) {
	t.Parallel()
	failed, taken := ports.DeliveryResult{Status: 500, Code: "status"}, ports.DeliveryResult{Status: 200}
	long := now.Add(-webhook.DisableAfter - time.Minute)
	for name, c := range map[string]struct {
		was, is ports.Endpoint
		results []ports.DeliveryResult
		goOn    bool
	}{
		"the first failure":     {ports.Endpoint{}, ports.Endpoint{FailingSince: now}, []ports.DeliveryResult{failed}, false},
		"it works again":        {ports.Endpoint{FailingSince: long}, ports.Endpoint{}, []ports.DeliveryResult{taken}, true},
		"one of two":            {ports.Endpoint{FailingSince: long}, ports.Endpoint{}, []ports.DeliveryResult{taken, failed}, false},
		"it fails for too long": {ports.Endpoint{FailingSince: long}, ports.Endpoint{FailingSince: long, Disabled: "failing"}, []ports.DeliveryResult{failed}, false},
		"it is gone":            {ports.Endpoint{}, ports.Endpoint{Disabled: "gone"}, []ports.DeliveryResult{{Status: 410, Code: "status"}}, false},
	} {
		s, store, _ := rig(t)
		e := c.was
		store.EXPECT().UpdateEndpoint(gomock.Any(), gomock.Any(), gomock.Any()).DoAndReturn(func(_ context.Context, _ string, fn func(*ports.Endpoint) error) (ports.Endpoint, error) {
			return e, fn(&e)
		})
		require.Equal(t, c.goOn, s.judge(t.Context(), c.was, c.results), name)
		require.Equal(t, c.is, e, name)
	}
	s, _, _ := rig(t) // of one that always works nothing is noted
	require.True(t, s.judge(t.Context(), ports.Endpoint{}, []ports.DeliveryResult{taken}))
}

func TestAFailureIsTriedAgainLaterAndAsAsked(t *testing.T) {
	t.Parallel()
	op := &preference.Operation{ID: "op_1", Customer: "ada", SettledAt: now}
	for _, c := range []struct {
		before int
		result ports.DeliveryResult
		least  time.Duration
	}{
		{0, ports.DeliveryResult{Code: "timeout"}, 5 * time.Second},
		{1, ports.DeliveryResult{Code: "status", Status: 500}, 5 * time.Minute},
		{0, ports.DeliveryResult{Code: "status", Status: 429, RetryAfter: time.Hour}, time.Hour},
		{40, ports.DeliveryResult{Code: "status", Status: 500}, 24 * time.Hour},
	} {
		s, store, sender := rig(t)
		sender.EXPECT().Send(gomock.Any(), "https://x.example", gomock.Any()).Return(c.result)
		store.EXPECT().CloseDelivery(gomock.Any(), gomock.Any(), c.result, gomock.Any()).DoAndReturn(func(_ context.Context, _ ports.DueDelivery, _ ports.DeliveryResult, next time.Time) error {
			require.GreaterOrEqual(t, next.Sub(now), c.least)
			require.LessOrEqual(t, next.Sub(now), c.least+c.least/5)
			return nil
		})
		s.deliver(t.Context(), ports.Endpoint{URL: "https://x.example"}, ports.DueDelivery{Event: "evt_op_1", Attempts: c.before, Operation: op})
	}
	s, store, _ := rig(t) // nothing is sent of somebody who was erased
	store.EXPECT().CloseDelivery(gomock.Any(), gomock.Any(), ports.DeliveryResult{}, time.Time{}).Return(nil)
	s.deliver(t.Context(), ports.Endpoint{}, ports.DueDelivery{})
}

func TestWhatIsAskedForIsHeldAgainstTheRules(t *testing.T) {
	t.Parallel()
	s, _, sender := rig(t)
	sender.EXPECT().Check("http://x").Return(fault.OnField("url", "not_allowed", "must be https"))
	_, err := s.Create(t.Context(), ports.EndpointDraft{URL: "http://x", Description: "a\x00", Events: []string{Changed, "other"}})
	f, is := fault.As(err)
	require.True(t, is)
	require.Len(t, f.Fields, 3)
	require.Equal(t, "event_types.1", f.Fields[2].Path)
	_, err = s.Replay(t.Context(), "we_1", now.Add(-31*24*time.Hour))
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}
