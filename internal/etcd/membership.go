package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// Why a change of the membership is refused. Each is wrapped with the endpoint and with what etcd
// said.
var (
	// ErrNoQuorum means that the member answers, but no majority of the voters does: nothing can be
	// changed. An election looks the same for a moment.
	ErrNoQuorum = errors.New("no majority of the voters answers; start the members that are down")
	// ErrUnhealthy means that etcd refuses a change after which it could lose its majority. It
	// counts only voters that have been connected for five seconds, so it may pass by itself; but it
	// goes on counting one that is paused, which only [Client.Healthy] finds.
	ErrUnhealthy = errors.New("etcd refuses because too few of its voters have been up for a while; " +
		"start those that are down or remove them first")
	// ErrTooManyLearners means that there is a learner already and etcd takes no second one.
	ErrTooManyLearners = errors.New("there is a learner already; promote or remove it first")
	// ErrNotInSync means that a learner has not caught up with the leader yet, or has not been
	// started: wait and ask again.
	ErrNotInSync = errors.New("the learner is not in sync with the leader yet")
	// ErrUnanswered means that no answer came in time: what was asked for may have happened all the
	// same. It is safe to ask again.
	ErrUnanswered = errors.New("no answer in time, it may have happened all the same")
	// ErrMemberGone means that there is no member of that identifier, or not any more. Etcd never
	// takes it back under this identifier.
	ErrMemberGone = errors.New("no such member; add it again")
)

// AddLearner adds a member that does not vote yet and returns it, with all members as they are now.
// A member that has the peer URL already is returned as it is, learner or voter, started or not.
//
// It is safe to repeat: if the answer was lost the member is there, and found by its peer URL.
func (c *Client) AddLearner(ctx context.Context, peerURL string) (Member, []Member, error) {
	doing := "add the learner " + peerURL
	atURL := func(m Member) bool { return slices.Contains(m.PeerURLs, peerURL) }
	members, err := c.look(ctx, doing)
	if err != nil {
		return Member{}, nil, err
	}
	if i := slices.IndexFunc(members, atURL); i >= 0 {
		return members[i], members, nil
	}
	requestCtx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := c.client.MemberAddAsLearner(requestCtx, []string{peerURL})
	switch {
	case errors.Is(err, rpctypes.ErrPeerURLExist): // somebody else was faster
		members, err = c.look(ctx, doing)
	case err != nil:
		err = c.refusal(doing, err)
	default:
		members = sorted(answer.Members)
	}
	if err != nil {
		return Member{}, nil, err
	}
	i := slices.IndexFunc(members, atURL)
	if i < 0 {
		return Member{}, nil, c.failure(doing, errors.New("it was added and is gone again; who else changes the members?"))
	}
	return members[i], members, nil
}

// Promote makes a learner a voter. It is ErrNotInSync if the learner has to catch up first, and
// ErrMemberGone if there is no such member.
//
// It is safe to repeat: nothing is done to a voter.
func (c *Client) Promote(ctx context.Context, id uint64) error {
	doing := "promote " + hex(id)
	members, err := c.look(ctx, doing)
	if err != nil {
		return err
	}
	// Etcd judges by how far a member is before it looks whether it votes: asked to promote a voter
	// that is down, it would say that it is not in sync.
	i := indexOf(members, id)
	switch {
	case i < 0:
		return c.failure(doing, ErrMemberGone)
	case !members[i].Learner:
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := c.client.MemberPromote(ctx, id); err != nil && !errors.Is(err, rpctypes.ErrMemberNotLearner) {
		return c.refusal(doing, err)
	}
	return nil
}

// Remove removes a member, learner or voter, whether it runs or not. One that runs stops for good.
// A member that is asked to remove itself may stop before it answers: ask another.
//
// It is safe to repeat: nothing is done if there is no such member. An identifier is never used
// again, so a member that was added in between is not hit.
func (c *Client) Remove(ctx context.Context, id uint64) error {
	doing := "remove " + hex(id)
	members, err := c.look(ctx, doing)
	if err != nil {
		return err
	}
	// Etcd judges the health of the rest before it looks whether the member exists.
	if indexOf(members, id) < 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := c.client.MemberRemove(ctx, id); err != nil && !errors.Is(err, rpctypes.ErrMemberNotFound) {
		return c.refusal(doing, err)
	}
	return nil
}

// look lists the members before something is changed. Only a quorum can change anything, and its
// list tells a change that is done already from one that is refused.
func (c *Client) look(ctx context.Context, doing string) ([]Member, error) {
	view, err := c.view(ctx)
	switch {
	case err != nil:
		return nil, c.failure(doing, err)
	case view.Learner:
		return nil, c.failure(doing, errors.New("the member that was asked is a learner, which changes nothing; ask a voter"))
	case !view.Quorum:
		return nil, c.failure(doing, ErrNoQuorum)
	}
	return view.Members, nil
}

// refusal explains what etcd says to a change.
func (c *Client) refusal(doing string, err error) error {
	for _, known := range []struct{ said, means error }{
		{rpctypes.ErrTooManyLearners, ErrTooManyLearners},
		{rpctypes.ErrUnhealthy, ErrUnhealthy},
		{rpctypes.ErrMemberNotEnoughStarted, ErrUnhealthy},
		{rpctypes.ErrMemberLearnerNotReady, ErrNotInSync},
		{rpctypes.ErrMemberNotFound, ErrMemberGone},
		{rpctypes.ErrNoLeader, ErrNoQuorum},
	} {
		if errors.Is(err, known.said) {
			return c.failure(doing, fmt.Errorf("%w: %w", known.means, err))
		}
	}
	if unanswered(err) {
		err = fmt.Errorf("%w: %w", ErrUnanswered, err)
	}
	return c.failure(doing, err)
}

func indexOf(members []Member, id uint64) int {
	return slices.IndexFunc(members, func(m Member) bool { return m.ID == id })
}
