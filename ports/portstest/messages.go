package portstest

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// Messages is the contract of ports.MessageStore. open gives an empty store.
func Messages(t *testing.T, open func(*testing.T) MessageStore) {
	for name, test := range map[string]func(*testing.T, MessageStore){
		"a personal message is in its recipients' inboxes":      publishPersonal,
		"a global message is in nobody's own inbox":             publishGlobal,
		"all of a message survives":                             messageSurvives,
		"a name is taken once":                                  nameTaken,
		"what make refuses is not stored":                       makeRefuses,
		"a link must lead to an active target":                  linksChecked,
		"a message waits for its time":                          messageWaits,
		"a message to many follows by delivery":                 deliverMany,
		"messages are found by id and name":                     messagesFound,
		"a retracted message is gone for good":                  retractPersonal,
		"a retracted global message is gone for good":           retractGlobal,
		"a retracted message to many leaves by delivery":        retractMany,
		"a message to many is retracted before all have it":     retractHalfway,
		"an edit shows in every inbox":                          editPersonal,
		"an edit that changes nothing is none":                  editNothing,
		"an edit of a global message is told to everybody":      editGlobal,
		"an edit of a message to many follows by delivery":      editMany,
		"a longer life brings an expired message back":          editRevives,
		"an edit that is refused leaves all as it was":          editRefused,
		"the catalogue of link targets":                         targets,
		"a target's change concerns others' links":              relatedTargets,
		"changes before the floor are not known":                changesBeforeFloor,
		"clean-up forgets what has ended":                       cleanUp,
		"clean-up leaves alone what has not ended long ago":     cleanUpLeaves,
		"clean-up forgets old changes and moves the floor":      cleanUpChanges,
		"clean-up takes out what nobody has looked at since":    cleanUpUnseen,
		"clean-up goes on where it stopped, with small batches": cleanUpInBatches,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func publishPersonal(t *testing.T, s MessageStore) {
	before := globals(t, s).Version
	first := Publish(t, s, Draft(ada, grace, ada))
	require.Equal(t, 2, first.Recipients, "each once")
	require.Zero(t, first.Undelivered)
	second := Publish(t, s, Draft(ada))
	require.Greater(t, second.ID, first.ID)
	require.Equal(t, []inbox.MessageID{second.ID, first.ID}, shows(t, s, ada))
	require.Equal(t, []inbox.MessageID{first.ID}, shows(t, s, grace))
	require.Empty(t, shows(t, s, "somebody"))
	read := box(t, s, ada)
	require.Equal(t, inbox.Counts{Total: 2, Unseen: 2, Unread: 2}, read.Counts)
	require.Equal(t, inbox.Version{Own: 2, Global: before}, read.Version)
	require.Equal(t, second.Position(), read.Items[0].Position)
	require.Equal(t, second.Expiry, read.Items[0].Expiry)
	changed, gone := changedSince(t, s, ada, 1)
	require.Equal(t, []inbox.MessageID{second.ID}, changed)
	require.Empty(t, gone)
}

func publishGlobal(t *testing.T, s MessageStore) {
	before := globals(t, s)
	m := Publish(t, s, Draft())
	after := globals(t, s)
	require.Equal(t, before.Version+1, after.Version)
	require.Equal(t, after.Version, m.Added)
	stored, ok := after.Message(m.ID)
	require.True(t, ok)
	require.Equal(t, m.Message, *stored)
	require.Empty(t, shows(t, s, ada))
	concerned, err := s.GlobalChanges(t.Context(), before.Version)
	require.NoError(t, err)
	require.Equal(t, []inbox.MessageID{m.ID}, concerned.Messages)
}

func messageSurvives(t *testing.T, s MessageStore) {
	Target(t, s, "orders", "app://orders/{order_id}", true)
	Target(t, s, "shop", "app://shop", true)
	d := Draft(ada)
	d.Campaign = "spring"
	d.Expiry = time.Now().Add(72 * time.Hour)
	d.Content = inbox.Content{Text: inbox.Text{Title: "Grüezi \"x\" <&>", Body: "a\nb\t\u2028 🎉", ImageURL: "https://example.com/a.png"},
		Locale: "en", Category: "promotions", Link: "app://orders/42", Pinned: true,
		Actions: []inbox.Action{{ID: "shop", Title: "Shop", Link: "app://shop?from=inbox"}, {ID: "order", Title: "Order", Link: "app://orders/42"}},
		Variants: map[string]inbox.Text{
			"de":    {Title: "Hallo", Body: "Welt", ImageURL: "https://example.com/de.png", Actions: map[string]string{"shop": "Laden"}},
			"pt-BR": {Title: "Olá"},
		}}
	m := Publish(t, s, d)
	require.Equal(t, []inbox.TargetKey{"orders", "shop"}, m.Targets)
	require.Equal(t, d.Fingerprint(), m.Fingerprint)
	read, err := s.Message(t.Context(), m.ID)
	require.NoError(t, err)
	require.Equal(t, m, read)
	item := box(t, s, ada).Items[0]
	require.True(t, item.Localized)
	require.Equal(t, m.Targets, item.Targets)
}

func nameTaken(t *testing.T, s MessageStore) {
	for _, d := range []inbox.Draft{Draft(ada), Draft(), Draft(crowd(InlineRecipients + 1)...)} {
		m := Publish(t, s, d)
		before, own := globals(t, s).Version, box(t, s, ada).Version.Own
		d.Content.Title = "something else"
		again, created, err := TryPublish(t, s, d)
		require.NoError(t, err)
		require.False(t, created)
		require.Equal(t, m, again)
		_, created, err = s.PublishMessage(t.Context(), d.Source, d.ExternalID, d.Recipients, InlineRecipients,
			func(*inbox.Links, time.Time) (*inbox.Message, error) {
				return nil, errors.New("it has ended meanwhile")
			})
		require.NoError(t, err, "what is there is answered, whatever make would say")
		require.False(t, created)
		require.Equal(t, before, globals(t, s).Version)
		require.Equal(t, own, box(t, s, ada).Version.Own)
	}
}

func makeRefuses(t *testing.T, s MessageStore) {
	d := Draft(ada)
	refusal := errors.New("no")
	_, created, err := s.PublishMessage(t.Context(), d.Source, d.ExternalID, d.Recipients, InlineRecipients,
		func(*inbox.Links, time.Time) (*inbox.Message, error) { return nil, refusal })
	require.ErrorIs(t, err, refusal)
	require.False(t, created)
	require.Zero(t, box(t, s, ada).Version.Own)
	_, err = s.MessageNamed(t.Context(), d.Source, d.ExternalID)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	Publish(t, s, d)
}

func linksChecked(t *testing.T, s MessageStore) {
	inactive := fault.New(fault.Invalid, "deeplink-inactive", "")
	linked := func(customers ...preference.CustomerID) inbox.Draft {
		d := Draft(customers...)
		d.Content.Link = "app://orders/42"
		return d
	}
	for _, to := range [][]preference.CustomerID{{ada}, {}, crowd(InlineRecipients + 1)} {
		_, _, err := TryPublish(t, s, linked(to...))
		require.ErrorIs(t, err, inactive, "there is no target")
	}
	Target(t, s, "orders", "app://orders/{order_id}", true)
	for _, to := range [][]preference.CustomerID{{ada}, {}, crowd(InlineRecipients + 1)} {
		require.Equal(t, []inbox.TargetKey{"orders"}, Publish(t, s, linked(to...)).Targets)
	}
	Target(t, s, "one", "app://orders/42", false)
	_, _, err := TryPublish(t, s, linked(ada))
	require.ErrorIs(t, err, inactive, "the target that says most about the link counts")
	require.NoError(t, s.DeleteTarget(t.Context(), "one"))
	Publish(t, s, linked(ada))
	Target(t, s, "orders", "app://orders/{order_id}", false)
	_, _, err = TryPublish(t, s, linked(ada))
	require.ErrorIs(t, err, inactive)
}

func messageWaits(t *testing.T, s MessageStore) {
	soonest := time.Now().Add(time.Second)
	mine, all := Draft(ada), Draft()
	mine.PublishAt, all.PublishAt = soonest, soonest
	before := globals(t, s).Version
	personal, global := Publish(t, s, mine), Publish(t, s, all)
	read := box(t, s, ada)
	if read.Now.Before(personal.PublishedAt) {
		require.Empty(t, read.Items)
		require.Equal(t, inbox.Version{Global: before}, read.Version)
	}
	require.Eventually(t, func() bool { return len(shows(t, s, ada)) == 1 && len(globals(t, s).Messages) == 1 }, 20*time.Second, 20*time.Millisecond)
	read = box(t, s, ada)
	require.False(t, read.Now.Before(personal.PublishedAt))
	require.EqualValues(t, 1, read.Version.Own)
	_, ok := globals(t, s).Message(global.ID)
	require.True(t, ok)
}

func deliverMany(t *testing.T, s MessageStore) {
	customers := crowd(1203)
	m := Publish(t, s, Draft(append(customers, customers[0])...))
	require.Equal(t, len(customers), m.Recipients)
	require.Equal(t, len(customers), m.Undelivered)
	require.Empty(t, shows(t, s, customers[0]))
	waiting, err := s.Undelivered(t.Context(), time.Now().Add(time.Hour), 10)
	require.NoError(t, err)
	require.Equal(t, []inbox.MessageID{m.ID}, waiting)
	waiting, err = s.Undelivered(t.Context(), time.Now().Add(-time.Hour), 10)
	require.NoError(t, err)
	require.Empty(t, waiting, "it was published later")

	done, left, err := s.Deliver(t.Context(), m.ID)
	require.NoError(t, err)
	require.Positive(t, done)
	require.Equal(t, len(customers), done+left)
	halfway, err := s.Message(t.Context(), m.ID)
	require.NoError(t, err)
	require.Equal(t, left, halfway.Undelivered)
	require.Equal(t, left, DeliverAll(t, s, m.ID))
	for _, c := range []preference.CustomerID{customers[0], customers[len(customers)-1]} {
		read := box(t, s, c)
		require.Equal(t, inbox.Counts{Total: 1, Unseen: 1, Unread: 1}, read.Counts)
		require.EqualValues(t, 1, read.Version.Own)
	}
	done, left, err = s.Deliver(t.Context(), m.ID)
	require.NoError(t, err)
	require.Zero(t, done+left)
	waiting, err = s.Undelivered(t.Context(), time.Now().Add(time.Hour), 10)
	require.NoError(t, err)
	require.Empty(t, waiting)
	done, left, err = s.Deliver(t.Context(), 987654321)
	require.NoError(t, err)
	require.Zero(t, done+left, "nothing is left to do for what nobody knows")
}

func messagesFound(t *testing.T, s MessageStore) {
	first, second := Publish(t, s, Draft(ada)), Publish(t, s, Draft())
	found, err := s.Messages(t.Context(), []inbox.MessageID{first.ID, 987654321, second.ID})
	require.NoError(t, err)
	require.Equal(t, map[inbox.MessageID]*inbox.Message{first.ID: &first.Message, second.ID: &second.Message}, found)
	found, err = s.Messages(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, found)
	named, err := s.MessageNamed(t.Context(), first.Source, first.ExternalID)
	require.NoError(t, err)
	require.Equal(t, first, named)
	_, err = s.Message(t.Context(), 987654321)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = s.EditMessage(t.Context(), 987654321, nil)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = s.RetractMessage(t.Context(), 987654321)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func targets(t *testing.T, s MessageStore) {
	before := globals(t, s)
	require.Empty(t, before.Links.All())
	pattern, err := inbox.ParsePattern("app://orders/{order_id}")
	require.NoError(t, err)
	want := inbox.LinkTarget{Key: "orders", Pattern: pattern, Active: true, From: Noon, Until: Noon.AddDate(20, 0, 0)}
	stored, created, err := s.PutTarget(t.Context(), want)
	require.NoError(t, err)
	require.True(t, created)
	require.WithinDuration(t, time.Now(), stored.UpdatedAt, time.Hour)
	want.UpdatedAt, want.PatternAt = stored.UpdatedAt, stored.PatternAt
	require.Equal(t, want, stored)
	require.Equal(t, []inbox.LinkTarget{want}, globals(t, s).Links.All())
	require.Equal(t, before.Version+1, globals(t, s).Version)

	again, created, err := s.PutTarget(t.Context(), want)
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, want, again)
	require.Equal(t, before.Version+1, globals(t, s).Version, "nothing has changed")

	off := Target(t, s, "orders", "app://orders/{order_id}", false)
	other := Target(t, s, "home", "app://home", true)
	list, err := s.Targets(t.Context())
	require.NoError(t, err)
	require.Equal(t, []inbox.LinkTarget{other, off}, list)
	require.NoError(t, s.DeleteTarget(t.Context(), "orders"))
	require.Equal(t, fault.NotFound, fault.KindOf(s.DeleteTarget(t.Context(), "orders")))
	list, err = s.Targets(t.Context())
	require.NoError(t, err)
	require.Equal(t, []inbox.LinkTarget{other}, list)
	require.Equal(t, before.Version+4, globals(t, s).Version)
	concerned, err := s.GlobalChanges(t.Context(), before.Version+2)
	require.NoError(t, err)
	require.ElementsMatch(t, []inbox.TargetKey{"home", "orders"}, concerned.Targets)
	require.Equal(t, ports.Concerned{Targets: concerned.Targets}, concerned)
}
