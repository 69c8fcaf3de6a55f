// pool_gather.cpp: several slots at once, all or none.
//
// One lane at a time gathers, named with its incarnation in one word, or two could each hold what
// the other wants. While it waits it holds nothing. Its mark in the demand makes every release wake
// everybody, for it is not served by one slot.
//
//   killed                           leaves
//   gatherer, with some of them      leases of a dead borrower, and its name in the word: both are
//                                    repaired, and the next one takes the word from a dead lane
//   gatherer, before its last wake   its own death wakes a sleeper, whose repairer wakes all
#include <optional>
#include <utility>

#include "pool_body.hpp"
#include "pool_life.hpp"
#include "pool_queue.hpp"
#include "pool_times.hpp"
#include "process_state.hpp"

namespace lagoon::inline v1::detail {

namespace {

/// The incarnation of whoever has the lane.
std::uint64_t incarnation_of(const Attachment& attachment, std::uint32_t lane) noexcept {
    if (lane < attachment.header->max_members) {
        // R4 acquire load <- R1, B3. kept: of another's lane it is asked behind J2, which has
        // brought along how that one claimed it.
        return attachment.member_entry(lane).state.load(std::memory_order_acquire) >> 1;
    }
    // R2 acquire load <- R3, N1. kept: as R4.
    return attachment.lane_entry(lane).state.load(std::memory_order_acquire) >> 11;
}

/// One request for several slots.
struct Order {
    PoolObject& pool;
    PoolCache& cache;
    std::uint64_t wanted;
    Taken* taken;
    std::optional<PlaceInQueue>& place;  // its turn, from the first wait on
};

class Gatherer {
public:
    Gatherer(PoolObject& pool, const LaneView& lane) noexcept
        : body_{body_of(pool)},
          attachment_{*lane.attachment},
          mine_{gatherer_token(*lane.attachment, lane.lane)} {}
    ~Gatherer() { let_go(); }
    Gatherer(const Gatherer&) = delete;
    Gatherer& operator=(const Gatherer&) = delete;

    void let_go() noexcept {
        std::uint64_t mine = mine_;
        // In a child that was forked meanwhile the right is still the parent's.
        if (!std::exchange(held_, false) || !is_epoch_of_process(epoch_)) return;
        // J3 seq_cst RMW, no pair: ordered with D3; before the next one can set it. kept: who waits
        // is woken behind it.
        body_.demand.fetch_and(~demand_bulk, std::memory_order_seq_cst);
        // J1 seq_cst RMW -> J2, J4: the next one sees what we gave back; ordered before D5. kept:
        // nobody else changes it while we live, so a seq_cst store would do.
        body_.bulk.compare_exchange_strong(mine, 0, std::memory_order_seq_cst,
                                           std::memory_order_relaxed);
        // Whoever waits for this right has marked its wait before it asked for it.
        if (waiting_lanes(body_) != 0) wake(body_.event, everybody);
    }

    /// The right to gather; in a queue, where nobody takes what another one gathers, it is
    /// everybody's.
    bool try_take() noexcept {
        if (is_queued(body_) || held_) return true;
        std::uint64_t other = 0;
        // J2 seq_cst RMW <- J1 -> J4: also where it fails, ordered behind the mark D6. kept: two at
        // once would still give back what is too little, and what was given back is in the slots'
        // words.
        held_ = body_.bulk.compare_exchange_strong(other, mine_, std::memory_order_seq_cst,
                                                   std::memory_order_seq_cst);
        if (held_) return true;
        if (gatherer_lives(attachment_, other)) return false;
        // J2 seq_cst RMW <- J1 -> J4: from a lane that is nobody's any more. kept: as above.
        held_ = body_.bulk.compare_exchange_strong(other, mine_, std::memory_order_seq_cst,
                                                   std::memory_order_relaxed);
        return held_;
    }
    void demand_all() noexcept {
        if (is_queued(body_)) return;
        // D1 seq_cst RMW, no pair: every release wakes us, for one is not enough. kept: the heavy
        // fence behind it is a full one on this CPU in any case.
        body_.demand.fetch_or(demand_bulk, std::memory_order_seq_cst);
    }

private:
    PoolBody& body_;
    const Attachment& attachment_;
    std::uint64_t mine_;
    std::uint64_t epoch_ = process_epoch();
    bool held_ = false;
};

void give_back_unused(const Order& order, Taken taken) noexcept {
    if (has_life(body_of(order.pool))) return put_back(order.pool, order.cache, taken);
    pool_give_back(order.pool, taken, process_epoch());
}

/// Takes what is idle; too few are given back. `got` is how many there were. In a queue nothing is
/// taken where too few are seen, so before a sleep it has to be asked behind the fence.
bool take_all(const Order& order, Effort effort, std::uint64_t* got) noexcept {
    *got = 0;
    if (is_queued(body_of(order.pool)) && !idle_is_left(order.pool, order.cache, order.wanted)) {
        return false;
    }
    for (; *got < order.wanted; ++*got) {
        order.taken[*got] = take_idle(order.pool, order.cache, effort);
        if (order.taken[*got].word == 0) break;
    }
    if (*got == order.wanted) return true;
    for (std::uint64_t i = 0; i < *got; ++i) give_back_unused(order, order.taken[i]);
    return false;
}

Outcome gather_patiently(const Order& order, Gatherer& gatherer, PlaceInQueue& place,
                         const Patience& patience) {
    PoolBody& body = body_of(order.pool);
    Sleeper sleeper{&order.pool, place.event(), patience};
    Outcome outcome = Outcome::ok;
    Woken woken = Woken::event;
    bool unasked = false;  // the last sleep ended by its cap, and nobody had moved the event
    std::uint32_t slept_on = 0;
    for (;;) {
        // The hook may gather here itself.
        if (std::chrono::steady_clock::now() >= next_tell(order.pool)) {
            gatherer.let_go();
            place.step_aside();
            tell_overdue(order.pool, Piece::next);
        }
        // D2 acquire load <- D4, E1. kept: as in Waiter::wait.
        const std::uint32_t seen = place.event().load(std::memory_order_acquire);
        if (woken == Woken::cap && seen == slept_on) unasked = true;
        place.announce();
        const bool mine = gatherer.try_take();
        if (mine) gatherer.demand_all();
        heavy_fence(order.cache.others_light);
        std::uint64_t got = 0;
        if (mine && take_all(order, effort_of(body), &got)) break;
        if (is_closed(body)) outcome = Outcome::closed;
        if (outcome == Outcome::ok && sleeper.stop_requested()) outcome = Outcome::cancelled;
        if (outcome == Outcome::ok && sleeper.expired()) outcome = Outcome::timed_out;
        if (outcome != Outcome::ok) break;
        const Effort effort = woken != Woken::event ? Effort::slots : effort_of(body);
        if (can_settle(order.pool, effort)) {
            // A hook may gather here itself, and takes our mark away.
            gatherer.let_go();
            place.step_aside();
            (void)settle_dirty(order.pool, patience, effort);
            place.pause();
            woken = Woken::event;
            continue;
        }
        // D2 acquire load <- D4, E1: unless somebody else came in between, only what we gave back
        // ourselves has moved it. kept: as above; and the kernel compares the word again.
        const std::uint32_t now = place.event().load(std::memory_order_acquire);
        slept_on = now - seen <= got ? now : seen;
        unasked = false;
        woken = sleeper.sleep(slept_on, next_tell(order.pool));
        place.pause();
    }
    place.leave();
    if (outcome == Outcome::timed_out) count(body.timed_out);
    if (outcome == Outcome::ok && unasked) count(body.late_wakes);
    // A wake-up that we may have been given is somebody else's now.
    if (outcome != Outcome::ok) wake_for_place(order.pool);
    return outcome;
}

}  // namespace

std::uint64_t gatherer_token(const Attachment& attachment, std::uint32_t lane) noexcept {
    return incarnation_of(attachment, lane) << 10 | (std::uint64_t{lane} + 1);
}

bool gatherer_lives(const Attachment& attachment, std::uint64_t token) noexcept {
    const std::uint32_t lane = gatherer_lane(token);
    return lane_lives(attachment, lane) && gatherer_token(attachment, lane) == token;
}

std::uint32_t gatherer_lane(std::uint64_t token) noexcept {
    return static_cast<std::uint32_t>((token & 0x3ff) - 1);
}

namespace {

Outcome gather(const Order& order, const Patience& patience) {
    PoolObject& pool = order.pool;
    PoolBody& body = body_of(pool);
    const LaneView& lane = lane_of(&pool);
    const bool tries = patience.deadline == Deadline::min();
    Gatherer gatherer{pool, lane};
    // After a check that did not pass it has its turn already.
    if (order.place) return gather_patiently(order, gatherer, *order.place, patience);
    std::uint64_t got = 0;
    if (gatherer.try_take() && take_all(order, tries ? Effort::tried : Effort::hints, &got)) {
        return Outcome::ok;
    }
    if (is_closed(body)) return Outcome::closed;
    if (tries) return Outcome::would_block;
    if (!may_wait(pool, lane)) return Outcome::too_many_waiters;
    order.place.emplace(pool, order.cache, lane, order.wanted, false);
    count(body.waits);
    return gather_patiently(order, gatherer, *order.place, patience);
}

/// All were taken, and nobody gathers now: a check may do what it likes. The first that does not
/// pass is ended, and the others are given back.
bool all_pass(const Order& order) noexcept {
    for (std::uint64_t i = 0; i < order.wanted; ++i) {
        order.taken[i] = checked(order.pool, order.cache, order.taken[i]);
        if (order.taken[i].word != 0) continue;
        // In a queue it has its turn again before anybody can see what it gives back.
        if (order.place && is_queued(body_of(order.pool))) order.place->announce();
        for (std::uint64_t other = 0; other < order.wanted; ++other) {
            if (other != i) give_back_unused(order, order.taken[other]);
        }
        return false;
    }
    return true;
}

}  // namespace

Outcome pool_acquire_n(PoolObject& pool, std::uint64_t wanted, Taken* taken,
                       const Patience& patience) {
    Outcome why = Outcome::closed;
    PoolCache* cache = cache_or(pool, &why);
    if (cache == nullptr) return why;
    std::optional<PlaceInQueue> place;
    const Order order{pool, *cache, wanted, taken, place};
    const bool checks = has_life(body_of(pool)) && patience.deadline != Deadline::min();
    const WaitClock clock{body_of(pool)};
    if (checks) (void)tend(pool);
    // Repeats when a resource was ended, of which there are only so many.
    for (;;) {
        const Outcome outcome = gather(order, patience);
        if (outcome == Outcome::ok && checks && !all_pass(order)) continue;
        if (outcome == Outcome::ok && checks) clock.count();
        return outcome;
    }
}

}  // namespace lagoon::inline v1::detail
