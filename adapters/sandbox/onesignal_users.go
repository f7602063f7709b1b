package sandbox

import (
	"encoding/json"
	"net/http"
	"slices"
)

// oneSignalMaxProperties is how many property updates one request may carry.
const oneSignalMaxProperties = 100

func oneSignalCreateUser(s *Sandbox, c *call) reply {
	aliases, validAliases := oneSignalAliases(c.object["identity"])
	properties, validProperties := oneSignalParseProperties(c.object["properties"])
	switch {
	case !validAliases:
		return oneSignalFail(http.StatusBadRequest, "identity must hold aliases other than onesignal_id")
	case !validProperties:
		return oneSignalFail(http.StatusBadRequest, "properties are not valid")
	}
	ch := &oneSignalUpsert{UserID: newID(), Aliases: aliases, Properties: properties}
	for _, item := range c.objects("subscriptions") {
		spec, problem := oneSignalParseSubscription(item, true)
		if problem != "" {
			return oneSignalFail(http.StatusBadRequest, problem)
		}
		ch.Subscriptions, ch.SubscriptionIDs = append(ch.Subscriptions, spec), append(ch.SubscriptionIDs, newID())
	}
	if len(aliases)+len(ch.Subscriptions) == 0 {
		return oneSignalFail(http.StatusBadRequest, "at least one alias or subscription is required")
	}
	return s.update(func(tx *writer) reply { return oneSignalUpsertUser(tx, ch) })
}

func oneSignalUpsertUser(tx *writer, ch *oneSignalUpsert) reply {
	o := &tx.st.OneSignal
	status := http.StatusCreated
	for label, id := range ch.Aliases {
		u := o.user(label, id)
		if u == nil {
			continue
		}
		if status == http.StatusOK && u.ID != ch.UserID {
			return oneSignalConflict(ch.Aliases)
		}
		ch.UserID, status = u.ID, http.StatusOK
	}
	keys := []string{ch.UserID}
	for _, spec := range ch.Subscriptions {
		if sub := o.byToken(spec.Type, spec.Token); sub != nil {
			keys = append(keys, sub.User)
		}
	}
	if err := tx.write(tx.sync(targetPush, keys, ch)); err != nil {
		return oneSignalWritten(err, 0, nil)
	}
	return reply{status: status, body: o.export(o.Users[ch.UserID])}
}

func oneSignalConflict(aliases map[string]string) reply {
	return reply{status: http.StatusConflict, body: object{"errors": []object{{
		"code": "user-2", "title": "One or more Aliases claimed by another User",
		"meta": object{"conflicting_aliases": aliases},
	}}}}
}

// oneSignalAliases reads an identity object; the vendor's own id is not ours to set.
func oneSignalAliases(raw json.RawMessage) (map[string]string, bool) {
	aliases := map[string]string{}
	if !present(raw) {
		return aliases, true
	}
	if json.Unmarshal(raw, &aliases) != nil {
		return nil, false
	}
	for label, id := range aliases {
		if label == "" || id == "" || label == aliasOneSignalID {
			return nil, false
		}
	}
	return aliases, true
}

func oneSignalParseProperties(raw json.RawMessage) (oneSignalProperties, bool) {
	out := oneSignalProperties{Tags: map[string]string{}, Others: map[string]json.RawMessage{}}
	if !present(raw) {
		return out, true
	}
	fields := objectOf(raw)
	if fields == nil {
		return out, false
	}
	for field, value := range fields {
		if field != "tags" {
			out.Others[field] = value
			continue
		}
		tags := objectOf(value)
		if tags == nil && present(value) {
			return out, false
		}
		for key, raw := range tags {
			text, valid := tagText(raw)
			if !valid {
				return out, false
			}
			out.Tags[key] = text
		}
	}
	return out, len(out.Tags)+len(out.Others) <= oneSignalMaxProperties
}

// withUser runs on the user the path names.
func withUser(s *Sandbox, c *call, found func(tx *writer, u *oneSignalUser) reply, missing func() reply) reply {
	return s.update(func(tx *writer) reply {
		u := tx.st.OneSignal.user(c.PathValue("alias_label"), c.PathValue("alias_id"))
		if u == nil {
			return missing()
		}
		return found(tx, u)
	})
}

func userNotFound() reply { return oneSignalNotFound("User not found") }

func oneSignalViewUser(s *Sandbox, c *call) reply {
	return withUser(s, c, func(tx *writer, u *oneSignalUser) reply { return ok(tx.st.OneSignal.export(u)) }, userNotFound)
}

func oneSignalViewIdentity(s *Sandbox, c *call) reply {
	return withUser(s, c, func(_ *writer, u *oneSignalUser) reply { return ok(object{"identity": u.identity()}) }, userNotFound)
}

// oneSignalUpdateUser is queued by the vendor, which therefore has no 404 here: for an unknown user nothing happens.
func oneSignalUpdateUser(s *Sandbox, c *call) reply {
	properties, valid := oneSignalParseProperties(c.object["properties"])
	if c.object == nil || !valid {
		return oneSignalFail(http.StatusBadRequest, "properties are not valid")
	}
	accepted := reply{status: http.StatusAccepted, body: object{"properties": objectOf(c.object["properties"])}}
	return withUser(s, c, func(tx *writer, u *oneSignalUser) reply {
		err := tx.write(tx.async(targetPush, []string{u.ID}, &oneSignalUserUpdate{u.ID, properties}))
		return oneSignalWritten(err, accepted.status, accepted.body)
	}, func() reply { return accepted })
}

// oneSignalDeleteUser takes the user's subscriptions with it. An unknown user is no error: the vendor lists no 404.
func oneSignalDeleteUser(s *Sandbox, c *call) reply {
	return withUser(s, c, func(tx *writer, u *oneSignalUser) reply {
		err := tx.write(tx.sync(targetPush, []string{u.ID}, &oneSignalUserDeletion{u.ID}))
		return oneSignalWritten(err, http.StatusOK, object{"identity": u.identity()})
	}, func() reply { return ok(object{}) })
}

func oneSignalUpdateIdentity(s *Sandbox, c *call) reply {
	aliases, valid := oneSignalAliases(c.object["identity"])
	if !valid || len(aliases) == 0 {
		return oneSignalFail(http.StatusBadRequest, "identity must hold aliases other than onesignal_id")
	}
	return withUser(s, c, func(tx *writer, u *oneSignalUser) reply {
		for label, id := range aliases {
			if other := tx.st.OneSignal.user(label, id); other != nil && other != u {
				return oneSignalConflict(map[string]string{label: id})
			}
		}
		if err := tx.write(tx.sync(targetPush, []string{u.ID}, &oneSignalUpsert{UserID: u.ID, Aliases: aliases})); err != nil {
			return oneSignalWritten(err, 0, nil)
		}
		return ok(object{"identity": u.identity()})
	}, userNotFound)
}

// oneSignalTypes are the kinds of subscriptions.
var oneSignalTypes = []string{
	"iOSPush", "AndroidPush", "FireOSPush", "ChromeExtensionPush", "ChromePush", "WindowsPush", "SafariLegacyPush",
	"FirefoxPush", "macOSPush", "HuaweiPush", "SafariPush", "Email", "SMS",
}

var oneSignalDetails = []string{
	"device_model", "device_os", "app_version", "sdk", "session_count", "session_time", "rooted", "test_type", "net_type",
	"carrier", "web_auth", "web_p256",
}

// oneSignalParseSubscription reads a subscription object; the text says what is wrong with it.
func oneSignalParseSubscription(fields map[string]json.RawMessage, isNew bool) (oneSignalSpec, string) {
	spec := oneSignalSpec{
		Type: textOf(fields["type"]), Token: textOf(fields["token"]), Details: map[string]json.RawMessage{},
	}
	switch {
	case fields == nil:
		return spec, "subscription is required"
	case isNew && !slices.Contains(oneSignalTypes, spec.Type):
		return spec, "subscription type is not valid"
	case isNew && spec.Token == "":
		return spec, "subscription token is required"
	}
	if raw := fields["enabled"]; present(raw) && json.Unmarshal(raw, &spec.Enabled) != nil {
		return spec, "subscription enabled is not valid"
	}
	if raw := fields["notification_types"]; present(raw) && json.Unmarshal(raw, &spec.NotificationTypes) != nil {
		return spec, "subscription notification_types is not valid"
	}
	for _, field := range oneSignalDetails {
		if raw := fields[field]; present(raw) {
			spec.Details[field] = raw
		}
	}
	return spec, ""
}
