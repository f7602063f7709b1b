package preference

// Erase makes every target forget the person, and then us. It withholds everything from the moment it is accepted, waits
// for its turn behind what is under way, and goes forward like every withdrawal.
func Erase() Change { return Change{changeDoc{Erase: true}} }

// Erases reports a change made by Erase.
func (c Change) Erases() bool { return c.c.Erase }

// erasing is the operation that erases the person, nil when there is none. One that is being taken back does not count.
func (a *Account) erasing() *Operation {
	for _, op := range a.open {
		if op.Change.Erases() && op.Status != Compensating {
			return op
		}
	}
	return nil
}

// assignNothing leaves a target with nothing of what it holds. Taken back, it holds that again.
func assignNothing(current Holding) Assignment {
	a := Assignment{Write: Holding{}, Saw: Holding{}, Restore: Holding{}}
	for i, s := range current {
		a.Write[i], a.Saw[i], a.Restore[i] = Unknown, s, s
	}
	return a
}
