// pool_demand.cpp: the marks of those who wait, and waking them.
//
// A waiter marks its lane's demand bit, runs the heavy fence, looks again, and only then sleeps
// (pool_wait.cpp). A releaser stores its word and loads the demand: one of the two sees the other.
// In a pool without a queue a wake-up that meets nobody hides the marks of those who are awake.
//
//   killed                                leaves
//   waiter, between its two marks         one without the other: the repair sets the summary, a
//                                         releaser who meets nobody clears it
//   waiter, after its mark                a bit of a dead lane: cleared by a releaser who finds it
//   releaser, before the event or wake    its death wakes a sleeper, who repairs and wakes all
#include "pool_demand.hpp"

#include <utility>

#include "os.hpp"
#include "pool_queue.hpp"
#include "process_state.hpp"
#include "reap.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr std::uint64_t announcements = ~(one_announcement - 1);
constexpr std::uint64_t known_demand =
    announcements | demand_bulk | demand_attention | ((std::uint64_t{1} << demand_leaves) - 1);

void set_bit(PoolBody& body, std::uint32_t lane) noexcept {
    // D6 seq_cst RMW, no pair: ordered with D5. kept: D1 behind it publishes it.
    body.demand_leaf[lane / 64].fetch_or(std::uint64_t{1} << (lane % 64),
                                         std::memory_order_seq_cst);
    const std::uint64_t bit = std::uint64_t{1} << (lane / 64);
    // D12 relaxed load, no pair: a guess for D1.
    std::uint64_t before = body.demand.load(std::memory_order_relaxed);
    // D1 seq_cst RMW, no pair: ordered with the releaser's word by the heavy fence, and with D3.
    // kept: the heavy fence behind every mark is a full one on this CPU in any case.
    while (!body.demand.compare_exchange_strong(before, (before | bit) + one_announcement,
                                                std::memory_order_seq_cst,
                                                std::memory_order_relaxed)) {
    }
}

/// The bit of a leaf that is empty goes from the summary. Who marks the leaf behind our look at it
/// counts its mark in the summary's word, and the swap fails: so no mark is hidden, also where we
/// are stopped.
void clear_summary(PoolBody& body, std::uint32_t leaf) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << leaf;
    std::uint64_t before = demand_of(body);
    while ((before & bit) != 0 && leaf_bits(body, leaf) == 0) {
        // D8 seq_cst RMW, no pair: by its value it comes behind no mark that `before` does not
        // know. kept: its order, as D5.
        if (body.demand.compare_exchange_strong(before, before & ~bit, std::memory_order_seq_cst,
                                                std::memory_order_seq_cst)) {
            return;
        }
    }
}

void clear_bit(PoolBody& body, std::uint32_t lane) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << (lane % 64);
    const std::uint32_t leaf = lane / 64;
    // D7 seq_cst RMW, no pair: ordered with D6. kept: its order, as D5.
    const std::uint64_t left =
        body.demand_leaf[leaf].fetch_and(~bit, std::memory_order_seq_cst) & ~bit;
    if (left == 0) clear_summary(body, leaf);
}

/// A wake-up met nobody: whoever had marked itself by `before`, which was loaded before it, is
/// awake, or is kept awake by the event, and marks itself again before it sleeps. Until somebody
/// does, a release need not look. Its word shows if one has since.
void rest_demand(PoolBody& body, std::uint64_t before) noexcept {
    const std::uint64_t rest = before & (announcements | demand_bulk | demand_attention);
    if (rest == before) return;
    // D11 seq_cst RMW, no pair: by its value it comes behind no mark that `before` does not know.
    // kept: its order, for it hides marks and shows nothing.
    body.demand.compare_exchange_strong(before, rest, std::memory_order_seq_cst,
                                        std::memory_order_relaxed);
}

void wake_some(PoolObject& pool, int sleepers) noexcept {
    PoolBody& body = body_of(pool);
    const std::uint64_t before = demand_of(body);
    // D4 release RMW -> D2: what changed is seen by who looks again, and a mark behind this event
    // is none that `before` knows. kept: the mark and the heavy fence order the look behind it, in
    // a model that runs all calls in order.
    body.event.fetch_add(1, std::memory_order_release);
    const bool met = os::futex_wake(body.event, sleepers) > 0;
    if (is_queued(body)) {
        wake_queue(pool);
    } else if (!met && read(body.bulk) == 0) {
        // Who gathers several sleeps on an event that it has moved itself.
        rest_demand(body, before);
    }
    if (!met) drop_stale_demand(pool);
}

}  // namespace

void drop_stale_demand(PoolObject& pool) noexcept {
    PoolBody& body = body_of(pool);
    const Attachment* attachment = attachment_of(&pool);
    if (attachment == nullptr) return;
    bool revived = false;
    // Bits that stand for nothing would send every release the long way for ever.
    if ((demand_of(body) & ~known_demand) != 0) {
        // D8 seq_cst RMW, no pair: nobody sets these. kept: its order, for nothing is ordered by
        // them.
        body.demand.fetch_and(known_demand, std::memory_order_seq_cst);
    }
    for (std::uint32_t leaf = 0; leaf < demand_leaves; ++leaf) {
        each_marked(body, leaf, [&](std::uint32_t lane) {
            if (lane_lives(*attachment, lane)) return;
            clear_bit(body, lane);
            if (lane_lives(*attachment, lane)) {
                set_bit(body, lane);
                revived = true;
            }
        });
        // One who died while it withdrew, or a late reaper, has left the summary's bit alone.
        if ((demand_of(body) >> leaf & 1) != 0 && leaf_bits(body, leaf) == 0) {
            clear_summary(body, leaf);
        }
    }
    if (revived) wake_everybody(pool);
}

void wake_everybody(PoolObject& pool) noexcept {
    wake(body_of(pool).event, everybody);
    if (is_queued(body_of(pool))) wake_queue(pool);
}

void wake_for_idle(PoolObject& pool) noexcept {
    const std::uint64_t demand = demand_of(body_of(pool));
    if (!is_demanded(demand)) return;
    if (is_queued(body_of(pool))) {
        serve_queue(pool);
        if ((demand & demand_attention) == 0) return;
    }
    wake_some(pool, (demand & (demand_bulk | demand_attention)) != 0 ? everybody : 1);
}

void wake_for_place(PoolObject& pool) noexcept {
    // Not every waiter can use a place, so one wake-up could be spent on the wrong one.
    if (is_demanded(demand_of(body_of(pool)))) wake_some(pool, everybody);
}

void wake_pool(PoolObject& pool) noexcept {
    PoolBody& body = body_of(pool);
    std::uint64_t marked = 0;
    for (std::uint32_t leaf = 0; leaf < demand_leaves; ++leaf) {
        if (leaf_bits(body, leaf) != 0) marked |= std::uint64_t{1} << leaf;
    }
    // D1 seq_cst RMW, no pair: as in set_bit, for one who died before it; else nobody would drop
    // the dead one's mark. kept: its order, for everybody is woken afterwards.
    if (marked != 0) body.demand.fetch_or(marked, std::memory_order_seq_cst);
    wake_everybody(pool);
}

std::uint64_t waiting_lanes(const PoolBody& body) noexcept {
    std::uint64_t lanes = 0;
    for (std::uint32_t leaf = 0; leaf < demand_leaves; ++leaf) {
        lanes += static_cast<std::uint64_t>(std::popcount(leaf_bits(body, leaf)));
    }
    return lanes;
}

void announce_wait(PoolObject& pool, const LaneView& lane) noexcept {
    if (!lane.shared) return set_bit(body_of(pool), lane.lane);
    PoolPrivate& own = pool_private(*lane.attachment, pool);
    const ProcessLock lock;
    if (std::exchange(own.waiters_epoch, process_epoch()) != process_epoch()) own.waiters = 0;
    ++own.waiters;
    set_bit(body_of(pool), lane.lane);
}

void withdraw_wait(PoolObject& pool, const LaneView& lane) noexcept {
    if (!lane.shared) return clear_bit(body_of(pool), lane.lane);
    // Several threads wait under this bit: the last one clears it.
    PoolPrivate& own = pool_private(*lane.attachment, pool);
    const ProcessLock lock;
    if (--own.waiters == 0) clear_bit(body_of(pool), lane.lane);
}

void forget_waits(Attachment& attachment, std::uint32_t lane) noexcept {
    attachment.for_each(Kind::pool, [lane](const DirectoryEntry&, std::byte* object) {
        auto& pool = *reinterpret_cast<PoolObject*>(object);
        if (is_queued(body_of(pool))) forget_queue(pool, lane);
        if ((leaf_bits(body_of(pool), lane / 64) >> (lane % 64) & 1) != 0) {
            clear_bit(body_of(pool), lane);
        }
    });
}

bool may_wait(PoolObject& pool, const LaneView& lane) noexcept {
    PoolBody& body = body_of(pool);
    if (body.max_waiters == 0) return true;
    announce_wait(pool, lane);
    if (waiting_lanes(body) > body.max_waiters) {
        // Who is turned away never sleeps, where deaths are noticed: a dead waiter's mark, and what
        // it held, would stay for good.
        (void)repair_the_dead(*lane.attachment);
        drop_stale_demand(pool);
    }
    const bool few = waiting_lanes(body) <= body.max_waiters;
    // Several threads under one mark are counted each time they announce themselves.
    if (!few || lane.shared) withdraw_wait(pool, lane);
    return few;
}

}  // namespace lagoon::inline v1::detail
