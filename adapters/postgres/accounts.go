package postgres

import (
	"context"

	"gorm.io/gorm"

	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
)

var errNoOperation = fault.New(fault.NotFound, "not-found", "no such operation")

// Update implements ports.Accounts. After fault.Unavailable the change may have been stored all the same, when the
// connection broke during the commit: repeat it with its key, or read.
func (db *DB) Update(ctx context.Context, customer preference.CustomerID, key string, fn func(*preference.Account) error) (err error) {
	ctx, end := db.span(ctx, "Update", "")
	defer func() { end(err) }()
	waiting, cancel := context.WithTimeout(ctx, db.timeout)
	defer cancel()
	leave, err := db.lanes.enter(waiting, customer)
	if err != nil {
		return translate("update account", err)
	}
	defer leave()
	done, unknown, err := db.updateQuiet(waiting, customer, key, fn)
	if err == nil && !done {
		err = db.inTx(ctx, func(tx *gorm.DB) error { return db.updateBusy(tx, customer, key, unknown, fn) })
	}
	return translate("update account", err)
}

// updateQuiet is for a customer of whom nothing is under way, as for nearly all: it reads without a lock and stores in one
// statement, if the customer's row is still the one that was read. Two round trips instead of four. done is false when it is
// not, and when there is more to it: nothing has happened then, and who is refused, or has asked before, is told so under
// the lock. unknown tells that there was no row.
func (db *DB) updateQuiet(ctx context.Context, customer preference.CustomerID, key string, fn func(*preference.Account) error) (done, unknown bool, err error) {
	var w writes
	var account *preference.Account
	// One connection for all, so that one that turns out dead is noticed before anything is stored.
	err = db.gorm.WithContext(ctx).Connection(func(tx *gorm.DB) (err error) {
		account, w, unknown, err = db.attemptQuiet(tx, customer, key, fn)
		if err != nil || len(w) == 0 {
			return err
		}
		version, stored, err := w.runAlone(tx)
		if done = stored; done {
			db.readings.keep(account, version)
		}
		return err
	})
	db.health.heard(err)
	if contended(err) || neverSent(err) || (len(w) == 0 && lostConnection(err)) { // nothing was stored, so it may be tried again
		err = nil
	}
	return done, unknown, err
}

// attemptQuiet answers what there is to store for a customer of whom nothing is under way.
func (db *DB) attemptQuiet(tx *gorm.DB, customer preference.CustomerID, key string, fn func(*preference.Account) error) (
	account *preference.Account, w writes, unknown bool, err error) {
	var row customerRow
	var version string
	found, err := queryOne(tx, append([]any{&version}, row.dest()...), `SELECT c.xmin::text, `+customerColumns+` FROM customers c WHERE c.id = ?`, string(customer))
	if err != nil || !found || row.turn != 0 || row.dataKey == nil {
		return nil, nil, err == nil && !found, err
	}
	standing, _, err := db.withOperations(tx, row, key, "")
	if err != nil {
		return nil, nil, false, err
	}
	account = preference.RestoreAccount(standing)
	if fn(account) != nil {
		return nil, nil, false, nil //nolint:nilerr // under the lock it fails again, or does not
	}
	w, err = changes(standing, account, version)
	return account, w, false, err
}

// updateBusy is for everybody else.
func (db *DB) updateBusy(tx *gorm.DB, customer preference.CustomerID, key string, unknown bool, fn func(*preference.Account) error) error {
	row, err := db.lockCustomer(tx, customer, unknown)
	if err != nil {
		return err
	}
	standing, _, err := db.withOperations(tx, row, key, "")
	if err != nil {
		return err
	}
	account := preference.RestoreAccount(standing)
	if err := fn(account); err != nil {
		return callerError{err}
	}
	return save(tx, standing, account)
}

// UpdateOperation implements ports.Accounts; see Update about fault.Unavailable. Who calls it has the turn, so nobody
// else is likely to change the account meanwhile: it does without the lock, and takes it when somebody did.
func (db *DB) UpdateOperation(ctx context.Context, operation string, fn func(*preference.Account, *preference.Operation) error) (err error) {
	ctx, end := db.span(ctx, "UpdateOperation", operation)
	defer func() { end(err) }()
	done := false
	err = db.again(ctx, func(ctx context.Context) (committing bool, err error) {
		done, committing, err = db.updateUnlocked(ctx, operation, fn)
		return committing, err
	})
	if err == nil && !done {
		err = db.updateLocked(ctx, operation, fn)
	}
	return translate("update operation", err)
}

// UpdateStill implements ports.Accounts. A step starts, and is marked, under a share lock on the operation's row, so none
// can while this holds the row; the look at the steps is a statement after the one that has waited for those under way.
func (db *DB) UpdateStill(ctx context.Context, operation string, fn func(*preference.Account, *preference.Operation, bool) error) (err error) {
	ctx, done := db.span(ctx, "UpdateStill", operation)
	defer func() { done(err) }()
	err = db.inTx(ctx, func(tx *gorm.DB) error {
		return db.underLock(tx, operation, func(a *preference.Account, op *preference.Operation) error {
			var locked, reached bool
			if _, err := queryOne(tx, []any{&locked}, `SELECT true FROM operations WHERE id = ? FOR UPDATE`, operation); err != nil {
				return err
			}
			if _, err := queryOne(tx, []any{&reached}, `SELECT EXISTS (SELECT FROM operation_targets WHERE operation_id = ?)`, operation); err != nil {
				return err
			}
			if err := fn(a, op, reached); err != nil {
				return callerError{err}
			}
			return nil
		})
	})
	return translate("update operation", err)
}

// updateUnlocked reads one moment and stores the changes in one statement, if the customer's row is still the one that
// was read: two round trips instead of five. done is false when it is not; nothing has happened then.
func (db *DB) updateUnlocked(ctx context.Context, operation string, fn func(*preference.Account, *preference.Operation) error) (done, committing bool, err error) {
	if r := db.readings.take(operation); r != nil {
		// What was read a while ago is good enough to store something on condition that it still holds, and for nothing
		// else: who is refused, or does nothing, may be so for what has changed since.
		if w, err := r.update(fn); err == nil && len(w) > 0 {
			if _, done, err = w.runAlone(db.gorm.WithContext(ctx)); done || err != nil {
				return done, true, err
			}
		}
	}
	// One connection for both, so that one that turns out dead is noticed before anything is stored.
	err = db.gorm.WithContext(ctx).Connection(func(tx *gorm.DB) error {
		r, err := db.readOperation(tx, operation)
		if err != nil || r.standing.Chain.Key == (consent.Key{}) { // who has no key yet is given one under the lock
			return err
		}
		w, err := r.update(fn)
		if err != nil {
			return err
		}
		if len(w) == 0 {
			done = true
			return nil
		}
		committing = true
		_, done, err = w.runAlone(tx)
		return err
	})
	return done, committing, err
}

func (db *DB) updateLocked(ctx context.Context, operation string, fn func(*preference.Account, *preference.Operation) error) error {
	return db.inTx(ctx, func(tx *gorm.DB) error {
		return db.underLock(tx, operation, func(a *preference.Account, op *preference.Operation) error {
			if err := fn(a, op); err != nil {
				return callerError{err}
			}
			return nil
		})
	})
}

// underLock loads the account of an operation under its lock, runs fn and stores what it did.
func (db *DB) underLock(tx *gorm.DB, operation string, fn func(*preference.Account, *preference.Operation) error) error {
	var row customerRow
	// An operation never changes its customer, so this finds the right row however long it waits for the lock.
	found, err := queryOne(tx, row.dest(), `SELECT `+customerColumns+` FROM customers c
		WHERE c.id = (SELECT customer_id FROM operations WHERE id = ?) FOR UPDATE`, operation)
	if err != nil {
		return err
	}
	if !found {
		return errNoOperation
	}
	if err := db.giveKey(tx, &row); err != nil {
		return err
	}
	standing, op, err := db.withOperations(tx, row, "", operation)
	if err != nil {
		return err
	}
	if op == nil {
		return errNoOperation
	}
	account := preference.RestoreAccount(standing)
	if err := fn(account, op); err != nil {
		return err
	}
	return save(tx, standing, account)
}
