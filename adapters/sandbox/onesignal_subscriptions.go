package sandbox

import "net/http"

func subscriptionNotFound() reply { return oneSignalNotFound("Subscription not found") }

// oneSignalAddSubscription creates or moves at once (201). What the user has already is updated later (202).
func oneSignalAddSubscription(s *Sandbox, c *call) reply {
	spec, problem := oneSignalParseSubscription(objectOf(c.object["subscription"]), true)
	if problem != "" {
		return oneSignalFail(http.StatusBadRequest, problem)
	}
	return withUser(s, c, func(tx *writer, u *oneSignalUser) reply {
		o := &tx.st.OneSignal
		keys := []string{u.ID}
		if sub := o.byToken(spec.Type, spec.Token); sub != nil {
			keys = append(keys, sub.User)
		}
		// A deletion that waits must not take what is added now: calls of one user take effect in order.
		if err := tx.catchUp(targetPush, keys...); err != nil {
			return oneSignalWritten(err, 0, nil)
		}
		if sub := o.byToken(spec.Type, spec.Token); sub != nil && sub.User == u.ID {
			err := tx.write(tx.async(targetPush, keys, &oneSignalSubscriptionUpdate{sub.ID, spec}))
			return oneSignalWritten(err, http.StatusAccepted, object{"subscription": sub.export()})
		}
		add := &oneSignalUpsert{UserID: u.ID, Subscriptions: []oneSignalSpec{spec}, SubscriptionIDs: []string{newID()}}
		if err := tx.write(tx.sync(targetPush, keys, add)); err != nil {
			return oneSignalWritten(err, 0, nil)
		}
		sub := o.byToken(spec.Type, spec.Token)
		return reply{status: http.StatusCreated, body: object{"subscription": sub.export()}}
	}, userNotFound)
}

// withSubscription runs on the subscription the path names. With caughtUp, what waits for its owner is applied first.
func withSubscription(s *Sandbox, c *call, caughtUp bool, found func(tx *writer, sub *oneSignalSubscription) reply) reply {
	return s.update(func(tx *writer) reply {
		id := c.PathValue("subscription_id")
		sub := tx.st.OneSignal.Subscriptions[id]
		if sub != nil && caughtUp {
			if err := tx.catchUp(targetPush, sub.User); err != nil {
				return oneSignalWritten(err, 0, nil)
			}
			sub = tx.st.OneSignal.Subscriptions[id]
		}
		if sub == nil {
			return subscriptionNotFound()
		}
		return found(tx, sub)
	})
}

func oneSignalUpdateSubscription(s *Sandbox, c *call) reply {
	spec, problem := oneSignalParseSubscription(objectOf(c.object["subscription"]), false)
	if problem != "" {
		return oneSignalFail(http.StatusBadRequest, problem)
	}
	return withSubscription(s, c, true, func(tx *writer, sub *oneSignalSubscription) reply {
		if other := tx.st.OneSignal.byToken(sub.Type, spec.Token); other != nil && other != sub {
			return oneSignalFail(http.StatusConflict, "token belongs to another subscription")
		}
		err := tx.write(tx.sync(targetPush, []string{sub.User}, &oneSignalSubscriptionUpdate{sub.ID, spec}))
		return oneSignalWritten(err, http.StatusOK, object{"subscription": sub.export()})
	})
}

func oneSignalDeleteSubscription(s *Sandbox, c *call) reply {
	return withSubscription(s, c, false, func(tx *writer, sub *oneSignalSubscription) reply {
		err := tx.write(tx.async(targetPush, []string{sub.User}, &oneSignalSubscriptionDeletion{sub.ID}))
		return oneSignalWritten(err, http.StatusAccepted, object{})
	})
}

func oneSignalUpdateByToken(s *Sandbox, c *call) reply {
	spec, problem := oneSignalParseSubscription(objectOf(c.object["subscription"]), false)
	if problem != "" {
		return oneSignalFail(http.StatusBadRequest, problem)
	}
	spec.Token = "" // the token addresses here; it does not change
	return s.update(func(tx *writer) reply {
		sub := tx.st.OneSignal.byToken(c.PathValue("token_type"), c.PathValue("token"))
		if sub == nil {
			return subscriptionNotFound()
		}
		err := tx.write(tx.async(targetPush, []string{sub.User}, &oneSignalSubscriptionUpdate{sub.ID, spec}))
		return oneSignalWritten(err, http.StatusAccepted, object{})
	})
}

// oneSignalTransferSubscription is synchronous. A user with as many subscriptions as a user may have gets no more.
func oneSignalTransferSubscription(s *Sandbox, c *call) reply {
	identity := objectOf(c.object["identity"])
	if len(identity) != 1 {
		return oneSignalFail(http.StatusBadRequest, "identity must hold exactly one alias")
	}
	return withSubscription(s, c, true, func(tx *writer, sub *oneSignalSubscription) reply {
		var to *oneSignalUser
		for label, id := range identity {
			to = tx.st.OneSignal.user(label, textOf(id))
		}
		if to == nil {
			return userNotFound()
		}
		if err := tx.catchUp(targetPush, to.ID); err != nil {
			return oneSignalWritten(err, 0, nil)
		}
		if to.ID != sub.User && len(to.Subscriptions) >= oneSignalMaxSubscriptions {
			return oneSignalFail(http.StatusConflict, "user has the maximum of subscriptions")
		}
		err := tx.write(tx.sync(targetPush, []string{sub.User, to.ID}, &oneSignalTransfer{sub.ID, to.ID}))
		return oneSignalWritten(err, http.StatusOK, object{"identity": to.identity()})
	})
}
