package objects

// recordCache keeps records of versions and places of chunks as the last epoch has them, by
// key: what was written lately is read soon, and reading it here costs a twentieth of looking
// for it in the tables on disk. What was put in first goes first.
type recordCache struct {
	m     map[string][]byte
	order []string // keys in the order in which they came; some may be gone
	bytes int
}

// The most that the cache holds, a record of it, and what an entry takes beside its bytes.
const (
	recordBudget = 16 << 20
	recordMost   = 8 << 10
	recordCost   = 160
)

// cachedRecord tells whether a key is of a kind that is kept.
func cachedRecord(key string) bool { return key[0] == 'v' || key[0] == 'c' }

func (c *recordCache) get(key []byte) []byte { return c.m[string(key)] }

// set notes what a record is now; nil for one that is not there.
func (c *recordCache) set(key string, value []byte) {
	old, ok := c.m[key]
	if ok {
		c.bytes -= len(key) + len(old) + recordCost
		if value == nil || len(value) > recordMost {
			delete(c.m, key)
			return
		}
	}
	if value == nil || len(value) > recordMost {
		return
	}
	if c.m == nil {
		c.m = map[string][]byte{}
	}
	if !ok {
		c.order = append(c.order, key)
	}
	c.m[key] = value
	c.bytes += len(key) + len(value) + recordCost
	c.trim()
}

func (c *recordCache) trim() {
	for c.bytes > recordBudget || len(c.order) > 2*len(c.m)+1024 {
		key := c.order[0]
		c.order = c.order[1:]
		v, ok := c.m[key]
		switch {
		case !ok:
		case c.bytes > recordBudget:
			delete(c.m, key)
			c.bytes -= len(key) + len(v) + recordCost
		default: // too many that are gone: this one keeps its place behind them
			c.order = append(c.order, key)
		}
	}
}

func (c *recordCache) clear() { *c = recordCache{} }
