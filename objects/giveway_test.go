package objects

import (
	"testing"
	"time"
)

// Work that can wait waits while much is asked, for so long at most, and not at all when
// little is, or when the store is closing.
func TestGiveWay(t *testing.T) {
	s := &Store{}
	wait := func(most time.Duration, stop chan struct{}) time.Duration {
		began := time.Now()
		s.GiveWay(stop, most)
		return time.Since(began)
	}
	stop, asked := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(asked)
		for {
			select {
			case <-stop:
				return
			default:
				s.asking.requests.Add(1000 * quietMost) // much, however seldom a busy machine comes here
				time.Sleep(50 * time.Microsecond)
			}
		}
	}()
	time.Sleep(2 * lookQuiet)
	if d := wait(3*lookQuiet, nil); d < 2*lookQuiet {
		t.Errorf("it gave way for %v only", d)
	}
	closed := make(chan struct{})
	close(closed)
	if d := wait(time.Hour, closed); d > time.Minute {
		t.Errorf("it gave way for %v to nobody", d)
	}
	close(stop)
	<-asked
	time.Sleep(lookQuiet)
	wait(time.Hour, nil) // what was asked before is forgotten
	for range 1000 {
		s.GiveWay(nil, time.Hour)
	}
}
