package httpapi

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
)

func TestEveryRouteIsInTheContractAndTheOtherWayRound(t *testing.T) {
	t.Parallel()
	c, err := ownContract()
	require.NoError(t, err)
	served := map[string]bool{}
	for _, r := range newAPI(t, withDev).engine.Routes() {
		if strings.HasPrefix(r.Path, "/dev/") || r.Path == "/docs" || r.Path == "/problems/:code" {
			continue
		}
		served[r.Method+" "+r.Path] = true
		require.Contains(t, c.routes, r.Method+" "+r.Path)
	}
	for key := range c.routes {
		require.True(t, served[key], "%s is in the contract and not served", key)
	}
}

func TestOnlyProbesAreOpenToAnyone(t *testing.T) {
	t.Parallel()
	c, err := ownContract()
	require.NoError(t, err)
	for key, r := range c.routes {
		signed := r.id == "receiveWebhook" // whose caller shows who it is by signing the body
		require.Equal(t, strings.HasPrefix(r.path, "/v1/") && !signed, r.access != forAnyone, key)
	}
}

func TestTheInboxIsOpenToEverybodyAndNothingElseIs(t *testing.T) {
	t.Parallel()
	c, err := ownContract()
	require.NoError(t, err)
	for key, r := range c.routes {
		open := (strings.HasPrefix(r.path, "/v1/inbox") && r.id != "mergeInbox") || r.id == "recordEvents"
		require.Equal(t, open, r.access == forAnyoneOrCustomer, key)
	}
}

func TestRequestsAreClosedAndAnswersAreOpen(t *testing.T) {
	t.Parallel()
	c, err := ownContract()
	require.NoError(t, err)
	requests := map[*openapi3.Schema]bool{}
	for key, r := range c.routes {
		if r.id == "receiveWebhook" { // in the sender's words, which grow without asking us
			continue
		}
		for _, schema := range r.bodies {
			requireClosed(t, key, schema, requests)
		}
	}
	for name, ref := range c.doc.Components.Schemas {
		if requests[ref.Value] {
			continue
		}
		closed := ref.Value.AdditionalProperties.Has
		require.True(t, closed == nil || *closed, "%s is an answer: clients must ignore what they don't know, so the contract may not close it", name)
		require.Empty(t, ref.Value.Enum, "%s is an answer: a new value would break the contract; use x-extensible-enum", name)
		for field, p := range ref.Value.Properties {
			require.Empty(t, p.Value.Enum, "%s.%s is an answer: use x-extensible-enum", name, field)
		}
	}
}

func requireClosed(t *testing.T, key string, s *openapi3.Schema, seen map[*openapi3.Schema]bool) {
	t.Helper()
	seen[s] = true
	for _, variant := range s.OneOf {
		requireClosed(t, key, variant.Value, seen)
	}
	if s.Items != nil {
		requireClosed(t, key, s.Items.Value, seen)
	}
	if member := s.AdditionalProperties.Schema; member != nil {
		requireClosed(t, key, member.Value, seen)
	} else if s.Type.Is(openapi3.TypeObject) {
		require.NotNil(t, s.AdditionalProperties.Has, "%s takes an object that does not refuse unknown members", key)
		require.False(t, *s.AdditionalProperties.Has, key)
	}
	for _, p := range s.Properties {
		requireClosed(t, key, p.Value, seen)
	}
}

func TestStatusesAreThoseOfTheDomain(t *testing.T) {
	t.Parallel()
	c, err := ownContract()
	require.NoError(t, err)
	status := c.doc.Components.Parameters["Status"].Value.Schema.Value.Items.Value
	var names []string
	for _, v := range status.Enum {
		names = append(names, v.(string))
	}
	var ours []string
	for _, s := range statuses() {
		ours = append(ours, string(s))
	}
	slices.Sort(names)
	slices.Sort(ours)
	require.Equal(t, ours, names)
}

// The published contract is what clients were promised; the document may only grow past it. Breaking changes are found
// by the build; this test is about the two not being the same file by accident of a forgotten copy.
func TestPublishedContractIsPartOfTheDocument(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/api/published/openapi-v1.yaml")
	require.NoError(t, err)
	published, err := readContract(raw)
	require.NoError(t, err)
	current, err := ownContract()
	require.NoError(t, err)
	for key, r := range published.routes {
		require.Contains(t, current.routes, key, "a published operation is gone")
		for status := range r.operation.Responses.Map() {
			require.NotNil(t, current.routes[key].operation.Responses.Value(status), "%s: a published answer %s is gone", key, status)
		}
	}
	for name, ref := range published.doc.Components.Schemas {
		now := current.doc.Components.Schemas[name]
		require.NotNil(t, now, "the published shape %s is gone", name)
		for field := range ref.Value.Properties {
			require.Contains(t, now.Value.Properties, field, "%s.%s was published and is gone", name, field)
		}
	}
}

func TestContractsThatMustNotStart(t *testing.T) {
	t.Parallel()
	for what, doc := range map[string]string{
		"not YAML":          "{",
		"no scope":          strings.Replace(string(document), `x-scopes: ["audit:read"]`, "", 1),
		"no such access":    strings.Replace(string(document), "x-access: service", "x-access: everybody", 1),
		"open by mistake":   strings.Replace(string(document), "x-access: anyone-or-customer", "x-access: customer", 1),
		"closed by mistake": strings.Replace(string(document), "security: [{}, { bearer: [] }]", "security: [{ bearer: [] }]", 1),
		"body too small":    strings.Replace(string(document), "x-max-body: 50331648", "x-max-body: 5", 1),
		"body no number":    strings.Replace(string(document), "x-max-body: 50331648", "x-max-body: much", 1),
		"not valid":         strings.Replace(string(document), "in: path", "in: air", 1),
	} {
		_, err := readContract([]byte(doc))
		require.Error(t, err, what)
	}
}
