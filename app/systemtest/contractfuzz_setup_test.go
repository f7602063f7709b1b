package systemtest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/adapters/links"
	"accord/app/compose"
	"accord/app/config"
	"accord/domain/webhook"
)

// everything is switched on, and nobody is kept from asking often: what limits refuse has reached nothing.
func everything(cfg *config.Config) {
	unlimited(cfg)
	cfg.Email.DoubleOptIn, cfg.Email.Topics = true, []string{"news=News", "offers"}
	cfg.Email.PublicURL, cfg.Email.LinkKeys = "http://"+cfg.HTTPAddr, config.Secret(links.NewKey("fuzz"))
	w := &cfg.Webhooks
	w.BrazeSecrets, w.OneSignalSecrets, w.OneTrustSecrets, w.IterableSecrets, w.GenericSecrets = sourceSecret, sourceSecret, sourceSecret, sourceSecret, sourceSecret
	w.IterableTypes = map[string]string{"8": "promotions", "9": "email"}
	*cfg = compose.WithSandboxVendors(*cfg) // the sandbox knows the topics too
}

// stuck is a customer whose changes the CRM refuses, so that there are operations which wait for a decision.
const stuck = "stuck"

func (f *contractFuzz) park(t *testing.T) {
	t.Helper()
	f.system.control(t, http.MethodPost, "/faults", map[string]any{"target": "crm", "customer": stuck, "calls": "write", "kind": "status", "status": 400, "times": 0})
	f.seen["target"] = append(f.seen["target"], "orders", "sale")
	a := f.system.as(t, stuck, http.MethodPatch, "/v1/preferences/push", map[string]any{"enabled": false}, "Prefer", "respond-async")
	require.Equal(t, http.StatusAccepted, a.status, "%v", a.body)
	f.seen["parked"] = append(f.seen["parked"], a.header.Get("Accord-Operation"))
}

// sourceSecret is what every source signs with.
const sourceSecret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"

// sources of decisions.
var sources = []string{"braze", "onesignal", "onetrust", "iterable", "generic"}

// tell draws what a source says, signed by it unless the request is wild.
func (f *contractFuzz) tell(rng *rand.Rand, source string, header http.Header, wild bool) []byte {
	var said any = f.decision(rng, source)
	switch rng.IntN(4) {
	case 0:
		said = []any{said, f.decision(rng, source)}
	case 1:
		said = map[string]any{"events": []any{said}}
	}
	if wild && chance(rng, 60) {
		said = mutate(rng, said)
	}
	raw, err := json.Marshal(said)
	if err != nil {
		return nil
	}
	if wild && chance(rng, 30) {
		raw = scramble(rng, raw, header)
	}
	secret, err := webhook.ParseSecret(sourceSecret)
	if err != nil || wild && chance(rng, 20) {
		return raw
	}
	id, now := fmt.Sprintf("told-%d", rng.IntN(1_000_000)), time.Now()
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", "application/json")
	}
	header.Set(webhook.HeaderID, id)
	header.Set(webhook.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	header.Set(webhook.HeaderSignature, webhook.Sign([]webhook.Secret{secret}, id, now, raw))
	return raw
}

// decision is one, as the source writes it.
func (f *contractFuzz) decision(rng *rand.Rand, source string) map[string]any {
	who := f.known(rng, "customer", fmt.Sprintf("passer-by-%d", rng.IntN(50)))
	at := time.Now().Add(-time.Duration(rng.IntN(7200)) * time.Second).UTC()
	seconds := oneOf(rng, []int64{at.Unix(), at.Unix(), at.Unix(), 0, -1, 253402300800, 1 << 62})
	id := oneOf(rng, []any{nil, "e1", fmt.Sprint("e", rng.Uint64()), "e\x00", strings.Repeat("long", 90)})
	on := chance(rng, 50)
	switch source {
	case "braze":
		return map[string]any{"id": id, "event_type": "users.behaviors.subscription.GlobalStateChange", "time": seconds, "user": map[string]any{"external_user_id": who},
			"properties": map[string]any{"channel": oneOf(rng, []string{"email", "push", "sms"}), "subscription_status": oneOf(rng, []string{"Unsubscribed", "Opted-in", "Subscribed"})}}
	case "onesignal":
		return map[string]any{"id": id, "type": oneOf(rng, []string{"subscription.changed", "subscription.invalid", "subscription.disabled"}), "external_id": who,
			"timestamp": seconds, "subscription": map[string]any{"token": oneOf(rng, []string{"t", "a\x00b"}), "enabled": on}}
	case "onetrust":
		return map[string]any{"receiptId": id, "identifier": who, "interactionDate": f.moment(rng, at),
			"purposes": []any{map[string]any{"Id": oneOf(rng, []string{"push-marketing", "x"}), "TransactionType": oneOf(rng, []string{"CONFIRMED", "WITHDRAWN", "PENDING"})}}}
	case "iterable":
		return map[string]any{"userId": who, "eventName": oneOf(rng, []string{"emailSubscribe", "emailUnSubscribe"}),
			"dataFields": map[string]any{"createdAt": f.moment(rng, at), "messageTypeIds": oneOf(rng, [][]int{nil, {8}, {9}, {8, 9, 10}})}}
	}
	said := map[string]any{"customer": who, "decided_at": f.moment(rng, at)}
	switch rng.IntN(4) {
	case 0:
		said["push"] = map[string]any{"enabled": on}
	case 1:
		said["channels"] = map[string]any{oneOf(rng, []string{"promotions", "news", "a\x00b"}): map[string]any{"enabled": on}}
	case 2:
		said["email"] = map[string]any{"marketing": map[string]any{"status": oneOf(rng, []string{"subscribed", "unsubscribed"})}}
	case 3:
		said["devices"] = []any{map[string]any{"id": "phone", "enabled": on}}
	}
	return map[string]any{"id": id, "type": "preferences.decision", "data": said}
}

// moment is when it was, or what no clock shows.
func (f *contractFuzz) moment(rng *rand.Rand, at time.Time) string {
	if chance(rng, 85) {
		return at.Format(time.RFC3339)
	}
	return oneOf(rng, extremes)
}

// extremes are times at the ends of what can be written; in UTC some of them can't.
var extremes = []string{"9999-12-31T23:59:59-01:00", "9999-12-31T23:59:59.999999999Z", "0000-01-01T00:00:00+23:59", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00+01:00"}
