package sandbox

import (
	"maps"
	"net/http"
	"slices"
	"time"
)

// brazeExport answers only the fields asked for; a field without a value is null.
func brazeExport(s *Sandbox, c *call) reply {
	fields := c.texts("fields_to_export")
	if len(fields) == 0 {
		return brazeFail(http.StatusBadRequest, "'fields_to_export' must be provided")
	}
	ids := distinct(c.texts("external_ids"))
	aliases := c.objects("user_aliases")
	if len(ids) > brazeMaxIDs || len(aliases) > brazeMaxIDs {
		return brazeFail(http.StatusBadRequest, "too many ids: 50 per list")
	}
	if len(ids)+len(aliases) == 0 && brazeOtherIDs(c) != 1 {
		return brazeFail(http.StatusBadRequest,
			"external_ids, user_aliases or exactly one of device_id, braze_id, email_address, phone must be provided")
	}
	users, invalid := []object{}, []any{}
	for _, alias := range aliases {
		invalid = append(invalid, alias) // profiles have external ids only
	}
	s.view(func(st *state) {
		if len(ids)+len(aliases) == 0 {
			ids = st.Braze.findBy(c)
		}
		for _, id := range ids {
			p := st.Braze.Profiles[id]
			if p == nil {
				invalid = append(invalid, id)
				continue
			}
			users = append(users, p.export(id, fields))
		}
	})
	body := object{"message": "success", "users": users}
	if len(invalid) > 0 {
		body["invalid_user_ids"] = invalid
	}
	return reply{status: http.StatusCreated, body: body}
}

func brazeOtherIDs(c *call) int {
	n := 0
	for _, field := range []string{"device_id", "braze_id", "email_address", "phone"} {
		if c.text(field) != "" {
			n++
		}
	}
	return n
}

// findBy resolves the single other id of an export call.
func (b *brazeState) findBy(c *call) []string {
	if email := c.text("email_address"); email != "" {
		return b.having("email", email)
	}
	if phone := c.text("phone"); phone != "" {
		return b.having("phone", phone)
	}
	device, brazeID := c.text("device_id"), c.text("braze_id")
	var out []string
	for id, p := range b.Profiles {
		hasDevice := slices.ContainsFunc(p.Tokens, func(t brazeToken) bool { return t.DeviceID == device })
		if brazeID != "" && p.BrazeID == brazeID || device != "" && hasDevice {
			out = append(out, id)
		}
	}
	return out
}

func (p *brazeProfile) export(externalID string, fields []string) object {
	out := object{}
	for _, field := range fields {
		switch field {
		case "external_id":
			out[field] = externalID
		case "braze_id":
			out[field] = p.BrazeID
		case "created_at":
			out[field] = p.CreatedAt.Format(time.RFC3339Nano)
		case "email_subscribe":
			out[field] = emptyAsNull(p.EmailSubscribe)
		case "push_subscribe":
			out[field] = emptyAsNull(p.PushSubscribe)
		case "custom_attributes":
			out[field] = maps.Clone(p.Custom)
		case "user_aliases", "devices":
			out[field] = []object{}
		case "push_tokens":
			out[field] = p.exportTokens()
		case "custom_events":
			out[field] = exportTallies(p.Events)
		case "purchases":
			out[field] = exportTallies(p.Purchases)
		default:
			if slices.Contains(brazeStandardFields, field) {
				out[field] = p.Standard[field]
			}
		}
	}
	return out
}

// exportTokens names the app where the write had its id, as Braze does; the sandbox's apps are named by their ids.
func (p *brazeProfile) exportTokens() []object {
	out := []object{}
	for _, t := range p.Tokens {
		out = append(out, object{
			"app": t.AppID, "platform": "Android", "token": t.Token, "device_id": t.DeviceID,
			"notifications_enabled": p.PushSubscribe != brazeUnsubscribed,
		})
	}
	return out
}

func exportTallies(tallies map[string]brazeTally) []object {
	out := []object{}
	for name, t := range tallies {
		out = append(out, object{"name": name, "count": t.Count, "first": t.First, "last": t.Last})
	}
	slices.SortFunc(out, func(a, b object) int { return compareText(a["name"], b["name"]) })
	return out
}

func compareText(a, b any) int {
	x, _ := a.(string)
	y, _ := b.(string)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func emptyAsNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}
