package podexec

import (
	"context"
	"fmt"
)

// Runner starts a program somewhere and carries its streams: an exec in a pod (Client.In) is one, a program such as ssh can be another.
// Run returns when the program has ended, or at once when ctx is done, and does not wait for a Stdin that blocks; how it ended proves
// nothing. String says where, for people.
type Runner interface {
	Run(ctx context.Context, cmd Cmd) error
	fmt.Stringer
}

// Talk is how one agent is spoken with. It is told once where that agent is, how it is started and which one it has to be.
type Talk struct {
	Runner Runner
	Argv   []string // the agent's command line
	// Agent is the sha256 (hex) of its executable. Nothing is asked of another one; "" is any.
	Agent  string
	Timing Timing
}

// Talk is how the agent is spoken with whose command line in that container is argv; agent is its sha256.
func (c *Client) Talk(t Target, argv []string, agent string) Talk {
	return Talk{Runner: c.In(t), Argv: argv, Agent: agent, Timing: c.Timing}
}

// In runs commands in one container.
func (c *Client) In(t Target) Runner { return container{c, t} }

type container struct {
	c *Client
	Target
}

func (r container) Run(ctx context.Context, cmd Cmd) error { return r.c.Run(ctx, r.Target, cmd) }
