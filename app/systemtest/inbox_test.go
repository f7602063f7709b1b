package systemtest

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"accord/app/config"
)

// What is published here shows at once, on every instance, and so does what is taken back.
func TestWhatIsPublishedShowsAtOnceEverywhere(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	other := s.secondAPI(t)
	s.orders(t, true)
	ada, grace := customer(), customer()
	var took, tookAnonymous []time.Duration
	for n := range 20 {
		title := fmt.Sprintf("message %d", n)
		body := message(title)
		if n%2 == 0 {
			body = message(title, ada)
		}
		body["deeplink"] = "app://orders/1"
		began := time.Now()
		id := s.publish(t, body)
		require.NotNil(t, find(other.feed(t, ada), title), "the first read after publishing, on another instance")
		took = append(took, time.Since(began))
		require.Equal(t, n%2 == 1, find(s.feed(t, grace), title) != nil, "somebody else's messages")
		if n%2 == 1 {
			eventually(t, time.Second, func() string { return missing(other.feed(t, ""), title) })
			tookAnonymous = append(tookAnonymous, time.Since(began))
		}
		if n%3 == 0 {
			a := s.asPublisher(t, http.MethodDelete, "/v1/messages/"+id, nil)
			require.Less(t, a.status, 300, a.body)
			require.Nil(t, find(other.feed(t, ada), title), "retracted")
			require.Nil(t, find(s.feed(t, ""), title), "retracted, on the instance that was told")
		}
	}
	t.Logf("published to visible on another instance: signed in %s; anonymous %s", distribution(took), distribution(tookAnonymous))

	before := other.feed(t, ada)
	s.orders(t, false)
	after := other.feed(t, ada)
	require.NotEqual(t, before.text("version"), after.text("version"))
	for _, m := range messages(after) {
		require.Nil(t, dig(m, "deeplink"), "a link that was switched off must not be handed out")
		require.Equal(t, "inactive", dig(m, "deeplink_status"))
	}
	dead := message("dead", ada)
	dead["deeplink"] = "app://orders/2"
	a := other.asPublisher(t, http.MethodPost, "/v1/messages", dead)
	require.Equal(t, 400, a.status)
	require.Equal(t, "deeplink-inactive", a.text("code"))
}

func missing(a answer, title string) string {
	if find(a, title) == nil {
		return title + " is not there"
	}
	return ""
}

// Campaigns come by a schedule. Published at moments that have nothing to do with it, all are there within a minute.
func TestCampaignsShowWithinAMinute(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	var took []time.Duration
	var mu sync.Mutex
	var all sync.WaitGroup
	for n := range 8 {
		title, began := fmt.Sprintf("campaign %d", n), time.Now()
		s.control(t, http.MethodPost, "/messages", map[string]any{"audience": map[string]any{"type": "global"}, "title": title, "body": "b", "category": "news"})
		all.Go(func() {
			eventually(t, time.Minute, func() string { return missing(s.feed(t, ""), title) })
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(began))
		})
		if n%4 == 3 {
			all.Wait() // so that the next ones meet the schedule at another moment
		}
	}
	all.Wait()
	t.Logf("upstream to visible: %s", distribution(took))
}

// A customer's own messages upstream come when the inbox is read and what is here is old, and when it is pulled.
func TestACustomersOwnMessagesComeWhenTheyRead(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *config.Config) { c.Inbox.OwnTTL = time.Second })
	ada, grace := customer(), customer()
	eventually(t, 30*time.Second, func() string { // both feeds have to be read for the first time
		if a := s.feed(t, ada); a.at("freshness", "stale") != false {
			return fmt.Sprint(a.at("freshness"))
		}
		return ""
	})
	began := time.Now()
	posted := s.control(t, http.MethodPost, "/messages", upstream("first", ada))
	eventually(t, 10*time.Second, func() string { return missing(s.feed(t, ada), "first") })
	t.Logf("a customer's own message upstream to visible by reading, with a TTL of 1 s: %v", time.Since(began))
	s.control(t, http.MethodPost, "/messages", upstream("second", ada))
	began = time.Now()
	pulled := s.as(t, ada, http.MethodPost, "/v1/inbox/refresh", nil)
	require.Equal(t, 200, pulled.status, pulled.body)
	require.NotNil(t, find(pulled, "second"), "pulling fetches it")
	t.Logf("by pulling: %v", time.Since(began))
	require.Empty(t, messages(s.feed(t, grace)), "nobody else's")

	s.control(t, http.MethodDelete, "/messages/"+posted.text("id"), nil)
	eventually(t, 10*time.Second, func() string {
		if find(s.feed(t, ada), "first") != nil {
			return "it has ended upstream and is still here"
		}
		return ""
	})
	var limited answer
	for range 20 {
		if limited = s.as(t, ada, http.MethodPost, "/v1/inbox/refresh", nil); limited.status != 200 {
			break
		}
	}
	require.Equal(t, 429, limited.status, "pulling is limited")
	require.NotEmpty(t, limited.header.Get("Retry-After"))
	require.Equal(t, 200, s.as(t, grace, http.MethodPost, "/v1/inbox/refresh", nil).status, "per customer")
}

func upstream(title, to string) map[string]any {
	return map[string]any{"audience": map[string]any{"type": "customers", "ids": []string{to}}, "title": title, "body": "b", "category": "news"}
}

// With the engagement platform down the feed is served, says that it is stale, and is fresh again afterwards.
func TestTheFeedSaysWhenItIsStale(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *config.Config) {
		c.Inbox.MaxAge, c.Inbox.PullEvery, c.Inbox.OwnTTL = 3*time.Second, time.Second, time.Second
	})
	ada := customer()
	s.publish(t, message("here", ada))
	is := func(stale bool) func() string {
		return func() string {
			a := s.feed(t, ada)
			require.NotNil(t, find(a, "here"), "the feed is served whatever upstream does")
			if a.at("freshness", "stale") != stale {
				return fmt.Sprint(a.at("freshness"))
			}
			return ""
		}
	}
	eventually(t, 20*time.Second, is(false))
	for _, kind := range []string{"timeout_before", "status", "malformed"} {
		s.control(t, http.MethodPost, "/faults", map[string]any{"target": "engagement", "customer": "*", "calls": "any", "kind": kind, "status": 503, "times": 0})
		eventually(t, 30*time.Second, is(true))
		s.control(t, http.MethodDelete, "/faults", nil)
		eventually(t, 40*time.Second, is(false))
	}
}

// A message to many is delivered by a workflow; taken back half-way, it is nowhere at once.
func TestAMessageToManyArrivesAndLeavesAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	var all []string
	for n := range 6000 {
		all = append(all, fmt.Sprintf("many-%d", n))
	}
	id := s.publish(t, message("to many", all...))
	eventually(t, time.Minute, func() string {
		if left := s.asPublisher(t, http.MethodGet, "/v1/messages/"+id, nil).at("delivery", "undelivered"); left != float64(0) {
			return fmt.Sprintf("%v wait", left)
		}
		return ""
	})
	for n := 0; n < 6000; n += 1499 {
		require.NotNil(t, find(s.feed(t, all[n]), "to many"))
	}
	require.Nil(t, find(s.feed(t, customer()), "to many"))
	a := s.as(t, all[0], http.MethodPost, "/v1/inbox/messages/"+id+"/acknowledge", map[string]any{"state": "read"})
	require.Equal(t, 200, a.status, a.body)
	require.Less(t, s.asPublisher(t, http.MethodDelete, "/v1/messages/"+id, nil).status, 300)
	for n := 0; n < 6000; n += 1499 {
		require.Nil(t, find(s.feed(t, all[n]), "to many"), "taken back is nowhere, and the counts know")
	}

	again := s.publish(t, message("taken back half-way", all...))
	require.Less(t, s.asPublisher(t, http.MethodDelete, "/v1/messages/"+again, nil).status, 300)
	for n := 0; n < 6000; n += 499 {
		require.Nil(t, find(s.feed(t, all[n]), "taken back half-way"))
	}
}

// What somebody does before signing in goes with them; who signs in next on the same device does not get it.
func TestAnInstallationsReceiptsGoToWhoSignsIn(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	id := s.publish(t, message("for all"))
	phone, ada, grace := uuid.NewString(), customer(), customer()
	here := []string{"Accord-Installation-Id", phone}
	at := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	a := s.as(t, "", http.MethodPost, "/v1/inbox/messages/"+id+"/acknowledge", map[string]any{"state": "read", "at": at}, here...)
	require.Equal(t, 200, a.status, a.body)
	require.NotNil(t, dig(find(s.feed(t, "", here...), "for all"), "read_at"))
	require.Nil(t, dig(find(s.feed(t, ada, here...), "for all"), "read_at"), "not before it was asked for")
	merge := func(who string) answer {
		a := s.as(t, who, http.MethodPost, "/v1/inbox/merge", map[string]any{"installation_id": phone})
		require.Equal(t, 200, a.status, a.body)
		return a
	}
	merge(ada)
	require.NotNil(t, dig(find(s.feed(t, ada, here...), "for all"), "read_at"))
	merge(grace)
	require.Nil(t, dig(find(s.feed(t, grace, here...), "for all"), "read_at"), "the next person on this device")
	require.Nil(t, dig(find(s.feed(t, "", here...), "for all"), "read_at"), "nor whoever uses it signed out")
	merge(ada)
	require.NotNil(t, dig(find(s.feed(t, ada), "for all"), "read_at"))
}

// A stream on one instance hears what another one writes, and goes on anywhere.
func TestAStreamHearsEveryInstance(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	other := s.secondAPI(t)
	ada := customer()
	s.registerPhone(t, ada)
	events := other.listen(t, ada, "")
	version := func(v string) func(event) bool {
		return func(e event) bool { return e.name == "inbox.changed" && strings.Contains(e.data, `"`+v+`"`) }
	}
	last := await(t, events, 10*time.Second, version(s.feed(t, ada).text("version"))) // the state at the beginning
	for n := range 6 {
		body := message(fmt.Sprint(n), ada)
		if n%2 == 1 {
			body = message(fmt.Sprint(n))
		}
		s.publish(t, body)
		last = await(t, events, 10*time.Second, version(s.feed(t, ada).text("version")))
	}
	changed := s.persist(t, ada, http.MethodPatch, "/v1/preferences/push", promotions(true), "Prefer", "wait=20")
	require.Equal(t, 200, changed.status, changed.body)
	await(t, events, 10*time.Second, func(e event) bool {
		return e.name == "operation.updated" && strings.Contains(e.data, changed.header.Get("Accord-Operation")) && strings.Contains(e.data, `"applied"`)
	})

	later := message("later", ada)
	at := time.Now().Add(3 * time.Second)
	later["publish_at"] = at.UTC().Format(time.RFC3339Nano)
	s.publish(t, later)
	// Nobody reads meanwhile: time itself is what has changed.
	await(t, events, 18*time.Second, func(e event) bool { return e.name == "inbox.changed" })
	require.False(t, time.Now().Before(at))

	s.publish(t, message("while nobody listened", ada))
	resumed := s.listen(t, ada, last.id)
	await(t, resumed, 10*time.Second, version(s.feed(t, ada).text("version")))
	await(t, resumed, 10*time.Second, func(e event) bool { return e.name == "preferences.changed" })
}
