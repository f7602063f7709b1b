package systemtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"accord/app/config"
	"accord/domain/webhook"
)

// tells sends a signed webhook of a source and answers what became of its events.
func (s *system) tells(t *testing.T, source string, body any) []any {
	t.Helper()
	text, err := json.Marshal(body)
	require.NoError(t, err)
	secret, err := webhook.ParseSecret(config.DevelopmentSecrets()["generic"])
	require.NoError(t, err)
	return s.deliver(t, source, text, uuid.NewString(), secret).at("events").([]any)
}

func (s *system) deliver(t *testing.T, source string, body []byte, id string, secret webhook.Secret) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.api+"/v1/webhooks/"+source, bytes.NewReader(body))
	require.NoError(t, err)
	now := time.Now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(webhook.HeaderID, id)
	req.Header.Set(webhook.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(webhook.HeaderSignature, webhook.Sign([]webhook.Secret{secret}, id, now, body))
	res, err := s.http.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	a := answer{status: res.StatusCode, header: res.Header, body: map[string]any{}}
	require.NoError(t, json.Unmarshal(raw, &a.body), "%s", raw)
	return a
}

// hearing gives every source a secret. They are the same, as it is not the secret that tells sources apart.
func hearing(cfg *config.Config) {
	patient(cfg)
	secret := config.Secret(config.DevelopmentSecrets()["generic"])
	w := &cfg.Webhooks
	w.BrazeSecrets, w.OneSignalSecrets, w.OneTrustSecrets, w.IterableSecrets = secret, secret, secret, secret
	w.GenericSecrets = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw,whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
	w.IterableTypes = map[string]string{"8": "promotions"}
}

func (s *system) settled(t *testing.T, operation string) answer {
	t.Helper()
	var last answer
	eventually(t, 60*time.Second, func() string {
		a, err := s.try("ops", "operations:read", http.MethodGet, s.api+"/v1/operations/"+operation, nil)
		if err != nil {
			return err.Error()
		}
		if last = a; a.text("status") != "applied" && a.text("status") != "compensated" {
			return fmt.Sprint(a.body)
		}
		return ""
	})
	return last
}

// TestADecisionOfEachSourceReachesEverythingElse with its source, its cause and its time, and never the system it came from.
func TestADecisionOfEachSourceReachesEverythingElse(t *testing.T) {
	t.Parallel()
	s := start(t, hearing)
	cfg := s.cfg.Vendors
	at := time.Now().Add(-5 * time.Second).UTC().Truncate(time.Second)
	for name, c := range map[string]struct {
		from  string
		body  func(who string, on bool, at time.Time) any
		skips string
	}{
		"braze": {from: "crm", skips: "crm", body: func(who string, on bool, at time.Time) any {
			return map[string]any{"id": uuid.NewString(), "event_type": "users.behaviors.subscriptiongroup.StateChange", "time": at.Unix(), "external_user_id": who,
				"subscription_group_id": cfg.BrazeGroups["promotions"], "subscription_status": map[bool]string{true: "Subscribed", false: "Unsubscribed"}[on]}
		}},
		"onetrust": {from: "cmp", skips: "cmp", body: func(who string, on bool, at time.Time) any {
			return map[string]any{"receiptId": uuid.NewString(), "identifier": who, "interactionDate": at.Format(time.RFC3339),
				"purposes": []any{map[string]any{"Id": cfg.OneTrustPurposes["push-marketing"], "TransactionType": map[bool]string{true: "CONFIRMED", false: "WITHDRAWN"}[on]}}}
		}},
		"iterable": {from: "engagement", body: func(who string, on bool, at time.Time) any {
			return map[string]any{"userId": who, "eventName": map[bool]string{true: "emailSubscribe", false: "emailUnSubscribe"}[on],
				"dataFields": map[string]any{"createdAt": at.Format(time.RFC3339), "messageTypeIds": []int{8}}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			who := customer()
			for n, on := range []bool{true, false} {
				when := at.Add(time.Duration(n) * time.Second)
				s.decidedAt(t, c.skips, who, on)
				body := c.body(who, on, when)
				event := s.tells(t, name, body)[0]
				require.Equal(t, "accepted", dig(event, "outcome"), event)
				op := s.settled(t, dig(event, "operation").(string))
				require.Equal(t, "applied", op.text("status"), op.body)
				require.Equal(t, c.from, op.text("source"))
				require.Equal(t, when.Format(time.RFC3339), op.text("decided_at"))
				s.requireReached(t, who, on, c.skips)
				s.requireUntold(t, who, c.skips)
				// Iterable's events have no id; sent as another message they say what holds.
				require.Equal(t, map[bool]string{true: "duplicate", false: "unchanged"}[c.skips != ""], dig(s.tells(t, name, body)[0], "outcome"))
				entries, events := s.ledgerOf(t, who, op.text("id"))
				require.Equal(t, []string{"requested", "applied"}, events)
				require.Equal(t, c.from, dig(entries[0], "origin", "source"), entries[0])
			}
			// What was decided before, and is heard of now, does not count, and who told us is put right.
			s.decidedAt(t, c.skips, who, true)
			late := s.tells(t, name, c.body(who, true, at.Add(-time.Minute)))[0]
			if c.skips == "" {
				require.Equal(t, "superseded", dig(late, "outcome"), late)
				return
			}
			require.Contains(t, []any{"superseded", "echo"}, dig(late, "outcome"), late)
			s.requireReached(t, who, false, c.skips)
			eventually(t, 30*time.Second, func() string {
				held := s.vendors(t, who)
				if name == "braze" && held.text("crm", "channels", "promotions") == "unsubscribed" || name == "onetrust" && held.text("cmp", "purposes", "push-marketing") == "withdrawn" {
					return ""
				}
				return fmt.Sprint(held.body)
			})
		})
	}
	t.Run("onesignal", func(t *testing.T) {
		t.Parallel()
		s.pushProviderTells(t, at)
	})
	t.Run("generic", func(t *testing.T) {
		t.Parallel()
		s.anotherSystemTells(t, at)
	})
}

// requireReached: everything but the origin holds it.
func (s *system) requireReached(t *testing.T, who string, on bool, skips string) {
	t.Helper()
	require.Equal(t, on, s.as(t, who, http.MethodGet, "/v1/preferences/push", nil).at("channels", "promotions", "enabled"))
	held := s.vendors(t, who)
	if skips != "crm" {
		require.Equal(t, map[bool]string{true: "subscribed", false: "unsubscribed"}[on], held.text("crm", "channels", "promotions"))
	}
	if skips != "cmp" {
		require.Equal(t, map[bool]string{true: "granted", false: "withdrawn"}[on], held.text("cmp", "purposes", "push-marketing"))
	}
	require.Equal(t, onOff(on), s.pushTag(t, who, "promotions"))
}

// decidedAt makes the system where a person decides hold it; else comparing would find it behind, and tell it.
func (s *system) decidedAt(t *testing.T, target, who string, on bool) {
	t.Helper()
	switch target {
	case "crm":
		s.control(t, http.MethodPut, "/customers/"+who, map[string]any{"crm": map[string]any{"channels": map[string]any{"promotions": map[bool]string{true: "subscribed", false: "unsubscribed"}[on]}}})
	case "cmp":
		s.control(t, http.MethodPut, "/customers/"+who, map[string]any{"cmp": map[string]any{"purposes": map[string]any{"push-marketing": map[bool]string{true: "granted", false: "withdrawn"}[on]}}})
	}
}

// requireUntold: the origin was not told what it has told us. It may have been read, to compare.
func (s *system) requireUntold(t *testing.T, who, origin string) {
	t.Helper()
	if origin == "" {
		return
	}
	log := s.control(t, http.MethodGet, "/requests?customer="+who+"&target="+origin, nil)
	for _, r := range log.at("requests").([]any) {
		require.Equal(t, "read", dig(r, "call"), "%v", r)
	}
}

func (s *system) pushProviderTells(t *testing.T, at time.Time) {
	who, token := customer(), "tok-"+uuid.NewString()
	require.Equal(t, 200, s.as(t, who, http.MethodPut, "/v1/devices/phone", phoneWith(token), "Prefer", "wait=30").status)
	tell := func(kind string, when time.Time, more map[string]any) any {
		subscription := map[string]any{"token": token}
		for k, v := range more {
			subscription[k] = v
		}
		return s.tells(t, "onesignal", map[string]any{"id": uuid.NewString(), "type": kind, "external_id": who, "timestamp": when.Unix(), "subscription": subscription})[0]
	}
	// In whole seconds, that of the registration most likely: the withdrawal wins.
	event := tell("subscription.unsubscribed", time.Now(), nil)
	require.Equal(t, "accepted", dig(event, "outcome"), event)
	require.Equal(t, "applied", s.settled(t, dig(event, "operation").(string)).text("status"))
	device := func() any {
		return dig(s.as(t, who, http.MethodGet, "/v1/preferences/push", nil).at("devices").([]any)[0], "enabled")
	}
	require.Equal(t, false, device())

	// A token is gone that has not been registered since.
	event = tell("subscription.invalid", time.Now().Add(time.Second), nil)
	op := s.settled(t, dig(event, "operation").(string))
	require.Equal(t, "token_unregistered", op.text("cause"))
	require.Empty(t, s.as(t, who, http.MethodGet, "/v1/preferences/push", nil).at("devices"))
	require.Equal(t, "unknown_device", dig(tell("subscription.changed", time.Now(), map[string]any{"enabled": true}), "reason"))
}

func (s *system) anotherSystemTells(t *testing.T, at time.Time) {
	who := customer()
	body := fmt.Appendf(nil, `{"type":"preferences.decision","timestamp":%q,"data":{"customer":%q,"email":{"marketing":{"status":"unsubscribed"}},"channels":{"promotions":{"enabled":true}},"cause":"store_form"}}`,
		at.Format(time.RFC3339), who)
	for _, text := range []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"} { // both, while they are changed
		secret, err := webhook.ParseSecret(text)
		require.NoError(t, err)
		a := s.deliver(t, "generic", body, "same-id-"+who, secret)
		require.Equal(t, 200, a.status, a.body)
		event := a.at("events").([]any)[0]
		require.Contains(t, []any{"accepted", "duplicate"}, dig(event, "outcome"))
		if op := dig(event, "operation"); op != nil {
			done := s.settled(t, op.(string))
			require.Equal(t, "external", done.text("source"))
			require.Equal(t, "store_form", done.text("cause"))
		}
	}
	eventually(t, 30*time.Second, func() string {
		if held := s.vendors(t, who); held.text("crm", "email_marketing") != "unsubscribed" || held.text("cmp", "purposes", "email-marketing") != "withdrawn" || held.text("crm", "channels", "promotions") != "subscribed" {
			return fmt.Sprint(held.body)
		}
		return ""
	})
	forged, err := webhook.ParseSecret(config.DevelopmentSecrets()["generic"])
	require.NoError(t, err)
	require.Equal(t, 401, s.deliver(t, "generic", body, "other", forged).status)
	require.Equal(t, 404, s.deliver(t, "nobody", body, "other", forged).status)
}
