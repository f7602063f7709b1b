package targetstest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/adapters/cmp/onetrust"
	"accord/adapters/crm/braze"
	"accord/adapters/outbound"
	"accord/adapters/push/onesignal"
	"accord/adapters/sandbox"
	"accord/domain/preference"
	"accord/ports"
)

// rig is a sandbox of its own with the three adapters in front of it.
type rig struct {
	t       *testing.T
	address string
	cfg     sandbox.Config
	systems map[preference.Target]ports.TargetSystem
}

// newRig starts one whose vendors take applyDelay to show a write, and whose calls take at most timeout.
func newRig(t *testing.T, applyDelay, timeout time.Duration) *rig {
	t.Helper()
	cfg := sandbox.DefaultConfig()
	cfg.ApplyDelay = applyDelay
	box, err := sandbox.New(cfg)
	require.NoError(t, err)
	server := httptest.NewServer(box)
	t.Cleanup(func() {
		require.NoError(t, box.Close()) // lets go what faults hold, or the server would wait for it
		server.Close()
	})
	r := &rig{t: t, address: server.URL, cfg: cfg, systems: map[preference.Target]ports.TargetSystem{}}
	r.add(braze.New(r.api(preference.CRM, "braze", timeout, "Bearer "+cfg.BrazeAPIKey), braze.Config{Groups: groups(cfg)}))
	r.add(onesignal.New(r.api(preference.Push, "onesignal", timeout, "Key "+cfg.OneSignalAPIKey), onesignal.Config{AppID: cfg.OneSignalAppID}))
	cmp := r.api(preference.CMP, "onetrust", timeout, "")
	r.add(onetrust.New(cmp, cmp, onetrust.Config{
		Purposes: purposes(cfg), CollectionPoint: cfg.CollectionPointToken(), IdentifierType: "Customer Id",
		ClientID: cfg.OneTrustClientID, ClientSecret: cfg.OneTrustClientSecret,
	}))
	return r
}

func (r *rig) add(system ports.TargetSystem, err error) {
	r.t.Helper()
	require.NoError(r.t, err)
	r.systems[system.Name()] = system
}

func (r *rig) api(target preference.Target, vendor string, timeout time.Duration, authorization string) *outbound.Client {
	r.t.Helper()
	cfg := outbound.Config{Target: target, BaseURL: r.address + "/" + vendor, Timeout: timeout}
	if authorization != "" {
		cfg.Authorize = func(h http.Header) { h.Set("Authorization", authorization) }
	}
	if target == preference.Push {
		cfg.CredentialStatuses = onesignal.CredentialStatuses
	}
	client, err := outbound.New(cfg)
	require.NoError(r.t, err)
	r.t.Cleanup(client.CloseIdleConnections)
	return client
}

func groups(cfg sandbox.Config) map[preference.ChannelKey]string {
	out := map[preference.ChannelKey]string{}
	for _, ch := range cfg.Channels {
		out[preference.ChannelKey(ch.Key)] = ch.BrazeGroupID
	}
	return out
}

func purposes(cfg sandbox.Config) map[preference.PurposeID]string {
	out := map[preference.PurposeID]string{}
	for _, p := range cfg.Purposes {
		out[preference.PurposeID(p.Name)] = p.OneTrustID
	}
	return out
}

// control sends a control call and decodes its answer into out (nil to ignore it).
func (r *rig) control(t *testing.T, method, path string, in, out any) {
	t.Helper()
	body, err := json.Marshal(in)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), method, r.address+"/_sandbox/"+path, bytes.NewReader(body))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, 2, resp.StatusCode/100, "control call %s %s", method, path)
	if out != nil {
		require.NoError(t, json.NewDecoder(resp.Body).Decode(out))
	}
}

type fault map[string]any

func (r *rig) fault(t *testing.T, target preference.Target, f fault) {
	t.Helper()
	f["target"] = target
	r.control(t, http.MethodPost, "faults", f, nil)
}

func (r *rig) clearFaults(t *testing.T) {
	t.Helper()
	r.control(t, http.MethodDelete, "faults", nil, nil)
}

// calls lists the vendor calls about a customer at a target, as "METHOD path".
func (r *rig) calls(t *testing.T, target preference.Target, customer string) []string {
	t.Helper()
	var log struct {
		Requests []struct{ Method, Path string }
	}
	query := url.Values{"target": {string(target)}, "customer": {customer}}
	r.control(t, http.MethodGet, "requests?"+query.Encode(), nil, &log)
	var out []string
	for _, call := range log.Requests {
		out = append(out, call.Method+" "+call.Path)
	}
	return out
}
