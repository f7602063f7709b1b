package portstest

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/preference"
	"accord/ports"
)

// patience is how long a write may take to show.
const patience = 10 * time.Second

// Subject is a target system over a vendor that knows nobody.
type Subject struct {
	System   ports.TargetSystem
	Channels []preference.ChannelKey // it knows, at least two; crm and push
	Purposes []preference.PurposeID  // it knows, at least two; cmp
	// Fail makes the vendor answer every further call with this HTTP status.
	Fail func(t *testing.T, status int)
	// Unregister makes the vendor find out that a token of the customer is not known to its platform any more; push.
	Unregister func(t *testing.T, customer preference.CustomerID, token string)
}

// TargetSystem checks every promise of ports.TargetSystem. open is called once per promise and must answer a subject
// that shares nothing with another.
func TargetSystem(t *testing.T, open func(t *testing.T) Subject) {
	promises := map[string]func(t *testing.T, s Subject){
		"a person the target has never heard of holds nothing":     readsNobody,
		"what is written is held in the end":                       writes,
		"the first write creates the person with exactly that":     createsExactly,
		"writing the same again changes nothing":                   repeats,
		"a write touches no other item and no other person":        touchesNothingElse,
		"unknown says no choice as closely as the target can":      writesUnknown,
		"writing nothing creates nobody":                           writesNothing,
		"what is not the target's is refused and nothing written":  refusesForeignItems,
		"any customer id can be used":                              takesAnyCustomer,
		"a refusal is a TargetError without personal data":         refuses,
		"an outage is a TargetError without personal data":         outage,
		"an ended context is the context's error":                  endedContext,
		"a device is added, switched and taken away":               device,
		"a person is forgotten, and nobody else":                   forgets,
		"a token that its platform does not know is told":          unregistered,
		"quiet hours and their zone are held as they are said":     quietHours,
		"a token moves to who registers it, and only from its own": tokenMoves,
	}
	for name, promise := range promises {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			promise(t, open(t))
		})
	}
}

// all is every item the subject has room for, in one state.
func (s Subject) all(state preference.State) preference.Holding {
	h := preference.Holding{}
	switch s.System.Name() {
	case preference.CRM:
		for _, kind := range []preference.ItemKind{preference.EmailItem, preference.PushItem, preference.ReachableItem} {
			h[preference.Item{Kind: kind}] = state
		}
	case preference.Push:
		for token := range devices {
			h[preference.Item{Kind: preference.DeviceItem, Key: token}] = state
		}
	case preference.CMP:
		for _, purpose := range s.Purposes {
			h[preference.Item{Kind: preference.PurposeItem, Key: string(purpose)}] = state
		}
	}
	if s.System.Name() != preference.CMP {
		for _, channel := range s.Channels {
			h[preference.Item{Kind: preference.ChannelItem, Key: string(channel)}] = state
		}
	}
	return h
}

func forgets(t *testing.T, s Subject) {
	s.write(t, "ada", s.all(preference.On))
	s.holds(t, "ada", s.all(preference.On))
	others := s.all(preference.Off)
	for item := range others {
		if item.Kind == preference.DeviceItem { // each token is one person's
			delete(others, item)
		}
	}
	if len(others) > 0 {
		s.write(t, "grace", others)
		s.holds(t, "grace", others)
	}
	for range 2 { // the answer to the first may have been lost
		require.NoError(t, s.System.Forget(t.Context(), "ada"))
		s.holds(t, "ada", preference.Holding{})
	}
	require.NoError(t, s.System.Forget(t.Context(), "nobody"))
	s.holds(t, "grace", others)
	s.write(t, "ada", s.all(preference.Off)) // somebody new
	s.holds(t, "ada", s.all(preference.Off))
}

// devices of the tests, by token. A token may hold any character but white space.
var devices = map[string]ports.TargetDevice{
	"token-ios/1":     {Platform: preference.IOS, AppVersion: "1.2.3", Locale: "de-CH"},
	"token:android+2": {Platform: preference.Android},
	"token?web&3=":    {Platform: preference.Web},
}

func (s Subject) write(t *testing.T, customer preference.CustomerID, set preference.Holding) {
	t.Helper()
	require.NoError(t, s.System.Write(t.Context(), order(customer, set)))
}

func order(customer preference.CustomerID, set preference.Holding) ports.TargetWrite {
	return ports.TargetWrite{Customer: customer, Operation: "op-1", Set: set, Devices: devices}
}

// holds waits until the customer's holding is exactly want.
func (s Subject) holds(t *testing.T, customer preference.CustomerID, want preference.Holding) {
	t.Helper()
	s.until(t, customer, func(got preference.Holding) bool { return maps.Equal(got, want) })
}

func (s Subject) until(t *testing.T, customer preference.CustomerID, met func(preference.Holding) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	var got preference.Holding
	for {
		now, err := s.System.Read(ctx, customer)
		if ctx.Err() != nil {
			t.Fatalf("after %s the target holds %v", patience, got)
		}
		require.NoError(t, err)
		got = now
		if met(got) {
			return
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			t.Fatalf("after %s the target holds %v", patience, got)
		}
	}
}

func with(h preference.Holding, item preference.Item, state preference.State) preference.Holding {
	out := maps.Clone(h)
	out[item] = state
	return out
}

// some picks an item that all has; always the same.
func some(h preference.Holding) preference.Item {
	var first preference.Item
	for item := range h {
		if first.Kind == "" || string(item.Kind)+item.Key < string(first.Kind)+first.Key {
			first = item
		}
	}
	return first
}

func readsNobody(t *testing.T, s Subject) {
	require.Contains(t, preference.Targets, s.System.Name())
	got, err := s.System.Read(t.Context(), "nobody")
	require.NoError(t, err)
	require.NotNil(t, got)
	require.Empty(t, got)
}

func writes(t *testing.T, s Subject) {
	for _, state := range []preference.State{preference.On, preference.Off, preference.On} {
		s.write(t, "ada", s.all(state))
		s.holds(t, "ada", s.all(state))
	}
	if s.System.Name() != preference.CRM {
		return
	}
	neutral := s.all(preference.On)
	neutral[preference.Item{Kind: preference.EmailItem}] = preference.Neutral
	neutral[preference.Item{Kind: preference.PushItem}] = preference.Neutral
	s.write(t, "ada", neutral)
	s.holds(t, "ada", neutral)
}

func createsExactly(t *testing.T, s Subject) {
	s.write(t, "ada", s.all(preference.Off))
	s.until(t, "ada", func(got preference.Holding) bool {
		for item, state := range got {
			require.Equal(t, preference.Off, state, "%s was never written as anything but off", item.Kind)
		}
		return maps.Equal(got, s.all(preference.Off))
	})
}

func repeats(t *testing.T, s Subject) {
	want := with(s.all(preference.On), some(s.all(preference.On)), preference.Off)
	for range 3 {
		s.write(t, "ada", want)
	}
	s.holds(t, "ada", want)
	s.write(t, "ada", want)
	s.holds(t, "ada", want)
}

func touchesNothingElse(t *testing.T, s Subject) {
	ada, grace := s.all(preference.On), s.all(preference.Off)
	if s.System.Name() == preference.Push { // a token is one person's
		for token := range devices {
			delete(grace, preference.Item{Kind: preference.DeviceItem, Key: token})
		}
	}
	s.write(t, "ada", ada)
	s.write(t, "grace", grace)
	s.holds(t, "ada", ada)
	s.holds(t, "grace", grace)
	for item := range ada {
		s.write(t, "ada", preference.Holding{item: preference.Off})
		ada[item] = preference.Off
		s.holds(t, "ada", ada)
	}
	s.holds(t, "grace", grace)
}

func writesUnknown(t *testing.T, s Subject) {
	s.write(t, "ada", s.all(preference.On))
	s.holds(t, "ada", s.all(preference.On))
	s.write(t, "ada", s.all(preference.Unknown))
	s.until(t, "ada", func(got preference.Holding) bool {
		for item, state := range got {
			if state != preference.Off || item.Kind == preference.DeviceItem {
				return false
			}
		}
		return true
	})
}

func writesNothing(t *testing.T, s Subject) {
	s.write(t, "ada", nil)
	s.write(t, "ada", preference.Holding{})
	s.holds(t, "ada", preference.Holding{})
}

func refusesForeignItems(t *testing.T, s Subject) {
	foreign := map[preference.Target]preference.Item{
		preference.CRM:  {Kind: preference.DeviceItem, Key: "token-ios/1"},
		preference.Push: {Kind: preference.PurposeItem, Key: "push-marketing"},
		preference.CMP:  {Kind: preference.EmailItem},
	}[s.System.Name()]
	s.write(t, "ada", s.all(preference.On))
	s.holds(t, "ada", s.all(preference.On))
	err := s.System.Write(t.Context(), order("ada", with(s.all(preference.Off), foreign, preference.On)))
	failure, is := ports.AsTargetError(err)
	require.True(t, is, "got %v", err)
	require.Equal(t, ports.Refused, failure.Class)
	require.False(t, failure.MaybeDone)
	s.holds(t, "ada", s.all(preference.On))
}

func takesAnyCustomer(t *testing.T, s Subject) {
	item := some(s.all(preference.On))
	if item.Kind == preference.DeviceItem {
		item = preference.Item{Kind: preference.ChannelItem, Key: string(s.Channels[0])}
	}
	set := with(s.all(preference.Off), item, preference.On)
	if s.System.Name() == preference.Push {
		set = preference.Holding{item: preference.On}
	}
	customers := []preference.CustomerID{
		"ada@example.com", "a/b", "a%2Fb", "a?b=c&d#e", "a+b;c", "Jürgen-日本", `q"uo'te\`, preference.CustomerID(strings.Repeat("x", 255)),
	}
	for _, customer := range customers {
		s.write(t, customer, set)
	}
	for _, customer := range customers {
		s.holds(t, customer, set)
	}
}

func refuses(t *testing.T, s Subject) {
	s.Fail(t, 422)
	s.failsWith(t, ports.Refused)
}

func outage(t *testing.T, s Subject) {
	s.Fail(t, 503)
	s.failsWith(t, ports.Transient)
}

func (s Subject) failsWith(t *testing.T, class ports.TargetErrorClass) {
	_, readErr := s.System.Read(t.Context(), "ada@example.com")
	for _, err := range []error{readErr, s.System.Write(t.Context(), order("ada@example.com", s.all(preference.On)))} {
		failure, is := ports.AsTargetError(err)
		require.True(t, is, "got %v", err)
		require.Equal(t, s.System.Name(), failure.Target)
		require.Equal(t, class, failure.Class)
		require.NotEmpty(t, failure.Code)
		if class == ports.Refused || errors.Is(err, readErr) {
			require.False(t, failure.MaybeDone)
		}
		for cause := err; cause != nil; cause = errors.Unwrap(cause) {
			require.NotContains(t, cause.Error(), "ada")
			for token := range devices {
				require.NotContains(t, cause.Error(), token)
			}
		}
	}
}

func endedContext(t *testing.T, s Subject) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.System.Read(ctx, "ada")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, s.System.Write(ctx, order("ada", s.all(preference.On))), context.Canceled)
}

func quietHours(t *testing.T, s Subject) {
	if s.System.Name() == preference.CMP {
		return // it knows of consents only
	}
	hours, zone := preference.Item{Kind: preference.QuietItem}, preference.Item{Kind: preference.ZoneItem}
	held := s.all(preference.Off)
	if s.System.Name() == preference.Push { // a person may be made with nothing else
		held = preference.Holding{}
		s.write(t, "ada", preference.Holding{hours: preference.Unknown, zone: preference.Unknown}) // there is nothing to take away
		s.holds(t, "ada", held)
	}
	for _, set := range []preference.Holding{
		with(held, hours, "22:00-07:00 Europe/Zurich"), {hours: "12:00-13:30 Asia/Kolkata"}, {zone: "Asia/Kolkata"}, {hours: preference.Unknown},
		{zone: "Europe/Paris", hours: "00:00-06:00 Europe/Paris"}, {hours: preference.Unknown, zone: preference.Unknown},
	} {
		for range 2 {
			s.write(t, "ada", set)
			for item, state := range set {
				if held[item] = state; state == preference.Unknown {
					delete(held, item)
				}
			}
			s.holds(t, "ada", held)
		}
	}
}

func device(t *testing.T, s Subject) {
	if s.System.Name() != preference.Push {
		return // the promise is about devices; other targets have none
	}
	held := preference.Holding{}
	for token := range devices {
		item := preference.Item{Kind: preference.DeviceItem, Key: token}
		for _, state := range []preference.State{preference.Off, preference.On, preference.Off, preference.On} {
			s.write(t, "ada", preference.Holding{item: state})
			held[item] = state
			s.holds(t, "ada", held)
		}
	}
	for token := range devices {
		item := preference.Item{Kind: preference.DeviceItem, Key: token}
		for range 2 { // once it is gone, taking it away again is no failure
			s.write(t, "ada", preference.Holding{item: preference.Unknown})
			delete(held, item)
			s.holds(t, "ada", held)
		}
	}
	s.write(t, "grace", preference.Holding{{Kind: preference.DeviceItem, Key: "token-ios/1"}: preference.Unknown})
	s.holds(t, "grace", preference.Holding{})
}

func unregistered(t *testing.T, s Subject) {
	if s.System.Name() != preference.Push {
		return // the promise is about devices; other targets have none
	}
	item := preference.Item{Kind: preference.DeviceItem, Key: "token-ios/1"}
	s.write(t, "ada", preference.Holding{item: preference.On})
	s.holds(t, "ada", preference.Holding{item: preference.On})
	s.Unregister(t, "ada", item.Key)
	s.holds(t, "ada", preference.Holding{item: preference.Unregistered})
	s.write(t, "ada", preference.Holding{item: preference.On}) // the app has registered it again, so it is known
	s.holds(t, "ada", preference.Holding{item: preference.On})
	s.Unregister(t, "ada", item.Key)
	s.write(t, "ada", preference.Holding{item: preference.Unknown})
	s.holds(t, "ada", preference.Holding{})
}

func tokenMoves(t *testing.T, s Subject) {
	if s.System.Name() != preference.Push {
		return // the promise is about devices; other targets have none
	}
	item := preference.Item{Kind: preference.DeviceItem, Key: "token-ios/1"}
	owner, next := preference.CustomerID("ada"), preference.CustomerID("grace")
	s.write(t, owner, preference.Holding{item: preference.On})
	s.holds(t, owner, preference.Holding{item: preference.On})
	for _, state := range []preference.State{preference.On, preference.Off, preference.On} { // the next one's choice, not the owner's
		s.write(t, next, preference.Holding{item: state})
		s.holds(t, next, preference.Holding{item: state})
		s.holds(t, owner, preference.Holding{})
		s.write(t, owner, preference.Holding{item: preference.Unknown}) // it is not the owner's to take away any more
		s.holds(t, owner, preference.Holding{})
		s.holds(t, next, preference.Holding{item: state})
		owner, next = next, owner
	}
}
