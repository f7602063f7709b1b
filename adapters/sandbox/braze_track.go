package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// brazeStandardFields are the profile's own fields that are kept as they come.
var brazeStandardFields = []string{
	"email", "phone", "first_name", "last_name", "language", "country", "time_zone", "home_city", "dob", "gender", "image_url",
}

type brazeItem = map[string]json.RawMessage

func brazeTrackCustomers(_ *Sandbox, c *call) []string {
	var out []string
	for _, array := range []string{"attributes", "events", "purchases"} {
		for _, item := range c.objects(array) {
			out = append(out, textOf(item["external_id"]))
		}
	}
	return out
}

// trackBatch collects what of a /users/track call is valid, and what is wrong with the rest.
type trackBatch struct {
	changes []change
	ids     []string // external id of each change
	errors  []object
	counts  map[string]int
}

func (b *trackBatch) add(array string, index int, id string, ch change, problem string) {
	if problem != "" {
		b.errors = append(b.errors, object{"type": problem, "input_array": array, "index": index})
		return
	}
	b.changes, b.ids = append(b.changes, ch), append(b.ids, id)
	b.counts[array]++
}

func brazeTrack(s *Sandbox, c *call) reply {
	const noData = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."
	attributes, events, purchases := c.objects("attributes"), c.objects("events"), c.objects("purchases")
	total := len(attributes) + len(events) + len(purchases)
	if total == 0 {
		return brazeFail(http.StatusBadRequest, noData)
	}
	if total > s.cfg.BrazeMaxObjects {
		return brazeFail(http.StatusBadRequest, fmt.Sprintf("Max Input Length Exceeded: %d objects per request", s.cfg.BrazeMaxObjects))
	}
	batch := &trackBatch{counts: map[string]int{}}
	for i, item := range attributes {
		ch, problem := brazeParseAttributes(s.cfg, item)
		batch.add("attributes", i, ch.ExternalID, ch, problem)
	}
	for i, item := range events {
		ch, problem := brazeParseOccurrence(item, "name", false)
		batch.add("events", i, ch.ExternalID, ch, problem)
	}
	for i, item := range purchases {
		ch, problem := brazeParseOccurrence(item, "product_id", true)
		batch.add("purchases", i, ch.ExternalID, ch, problem)
	}
	if len(batch.changes) == 0 {
		return reply{status: http.StatusBadRequest, body: object{"message": noData, "errors": batch.errors}}
	}
	return s.update(func(tx *writer) reply {
		effects := make([]*effect, len(batch.changes))
		for i, ch := range batch.changes {
			effects[i] = tx.async(targetCRM, []string{batch.ids[i]}, ch)
		}
		body := object{"message": "success"}
		for array, n := range batch.counts {
			body[array+"_processed"] = n
		}
		if len(batch.errors) > 0 {
			body["errors"] = batch.errors
		}
		return brazeAccepted(tx.write(effects...), body)
	})
}

const brazeNoID = "'external_id' or 'braze_id' or 'user_alias' or 'email' or 'phone' is required"

func brazeParseOccurrence(item brazeItem, nameField string, purchase bool) (*brazeOccurrence, string) {
	o := &brazeOccurrence{ExternalID: textOf(item["external_id"]), Name: textOf(item[nameField]), Purchase: purchase}
	_, err := time.Parse(time.RFC3339, textOf(item["time"]))
	switch {
	case o.ExternalID == "":
		return o, brazeNoID
	case o.Name == "":
		return o, fmt.Sprintf("'%s' is not valid", nameField)
	case err != nil:
		return o, "'time' is not valid"
	}
	return o, ""
}

// brazeParseAttributes reads one attribute object; the text says what is wrong with it, "" when nothing is.
func brazeParseAttributes(cfg Config, item brazeItem) (*brazeAttributes, string) {
	a := &brazeAttributes{
		ExternalID: textOf(item["external_id"]), Groups: map[string]string{},
		Standard: brazeItem{}, Custom: brazeItem{},
	}
	if a.ExternalID == "" {
		return a, brazeNoID
	}
	for field, value := range item {
		if problem := a.parse(cfg, field, value); problem != "" {
			return a, problem
		}
	}
	return a, ""
}

func (a *brazeAttributes) parse(cfg Config, field string, value json.RawMessage) string {
	invalid := fmt.Sprintf("'%s' is not valid", field)
	switch field {
	case "external_id", "braze_id", "user_alias": // external_id addresses the profile
	case "_update_existing_only":
		if json.Unmarshal(value, &a.UpdateOnly) != nil {
			return invalid
		}
	case "push_token_import":
		if string(value) == "true" { // for anonymous tokens only
			return "'external_id' must not be given with 'push_token_import'"
		}
	case "email_subscribe", "push_subscribe":
		state := textOf(value)
		if !slices.Contains([]string{brazeOptedIn, brazeSubscribed, brazeUnsubscribed}, state) {
			return invalid
		}
		if field == "email_subscribe" {
			a.EmailSubscribe = state
		} else {
			a.PushSubscribe = state
		}
	case "subscription_groups":
		for _, group := range objectsOf(value) {
			id, state := textOf(group["subscription_group_id"]), textOf(group["subscription_state"])
			if _, known := cfg.group(id); !known || state != brazeSubscribed && state != brazeUnsubscribed {
				return invalid
			}
			a.Groups[id] = state
		}
	case "push_tokens":
		return a.parseTokens(value, invalid)
	default:
		if slices.Contains(brazeStandardFields, field) {
			a.Standard[field] = value
		} else {
			a.Custom[field] = value
		}
	}
	return ""
}

// parseTokens: a list adds tokens, null removes them all.
func (a *brazeAttributes) parseTokens(value json.RawMessage, invalid string) string {
	if isNull(value) {
		a.ClearTokens = true
		return ""
	}
	for _, item := range objectsOf(value) {
		token := brazeToken{textOf(item["app_id"]), textOf(item["token"]), textOf(item["device_id"])}
		if token.AppID == "" || token.Token == "" {
			return invalid
		}
		if token.DeviceID == "" {
			token.DeviceID = newID()
		}
		a.AddTokens = append(a.AddTokens, token)
	}
	return ""
}
