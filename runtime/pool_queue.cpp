// pool_queue.cpp: waiters who are served in the order of their coming.
//
// Whoever waits says so in one word of its lane: for how many slots, whether a place would do, and
// a ticket. Nothing is granted to anybody: one may take when so much is idle that all who came
// before it are served as well. So a stopped process keeps what is due to it and nothing else. The
// words are read before the slots: who is ahead may have taken its own meanwhile, which leaves
// less, and never more. Only who comes back to its turn out of a hook may be missed by a look.
//
//   killed                              leaves
//   waiter, with its word               a word of a dead lane: cleared by the repair, which then
//                                       wakes all
//   waiter, with its slot, before the   the same, and a lease
//   next one is woken
//   releaser, before it wakes anybody   its death wakes all
//
//   Edges      I2 -> I3   a repairer, and the word of a lane that it takes for a dead one's
//              I2 with D1 (pool_demand.cpp): a word is there when its mark is seen
#include "pool_queue.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "os.hpp"
#include "pool_clock.hpp"
#include "pool_creation.hpp"
#include "pool_demand.hpp"
#include "process_state.hpp"

namespace lagoon::inline v1::detail {

namespace {

// Of the word, from the top: it waits; a place would do; it is not in a hook, whose caller may hold
// what those before it wait for; a place would do for one that waits on its lane; 24 bits of slots,
// less one; 36 of the ticket.
constexpr std::uint64_t waits_bit = std::uint64_t{1} << 63;
constexpr std::uint64_t or_place_bit = std::uint64_t{1} << 62;
constexpr std::uint64_t ordinary_bit = std::uint64_t{1} << 61;
constexpr std::uint64_t lane_place_bit = std::uint64_t{1} << 60;
constexpr unsigned ticket_bits = 36;

QueueEntry& entry_of(const PoolObject& pool, std::uint64_t lane) noexcept {
    auto* object = reinterpret_cast<std::byte*>(const_cast<PoolObject*>(&pool));
    return reinterpret_cast<QueueEntry*>(object + pool.queue.from_object)[lane];
}

std::uint64_t slots_of(std::uint64_t waits) noexcept {
    return (waits >> ticket_bits & (capacity_limit - 1)) + 1;
}
/// Tickets may pass their end.
bool came_before(std::uint64_t one, std::uint64_t other) noexcept {
    if (((one ^ other) & ordinary_bit) != 0) return (one & ordinary_bit) == 0;
    return static_cast<std::int64_t>((one - other) << (64 - ticket_bits)) < 0;
}

/// One who waits. No two are at the same place, whatever their words say.
struct Waiting {
    std::uint64_t waits;
    std::uint32_t lane;
    [[nodiscard]] bool wants_place() const noexcept { return (waits & or_place_bit) != 0; }
    /// It, or one that stands where it stands.
    [[nodiscard]] bool serves_place() const noexcept { return (waits & lane_place_bit) != 0; }
    [[nodiscard]] bool is_before(const Waiting& other) const noexcept {
        if (came_before(waits, other.waits)) return true;
        return !came_before(other.waits, waits) && lane < other.lane;
    }
};

/// Calls `look` for each lane that is marked.
template <class Look>
void each_lane(const PoolObject& pool, Look&& look) noexcept {
    const PoolBody& body = body_of(pool);
    const std::uint64_t summary = demand_of(body);
    for (std::uint32_t leaf = 0; leaf < demand_leaves; ++leaf) {
        if ((summary >> leaf & 1) == 0) continue;
        each_marked(body, leaf, [&](std::uint32_t lane) {
            if (lane < pool.queue.extent) look(lane);
        });
    }
}
/// Of those, whoever waits.
template <class Look>
void each_waiting(const PoolObject& pool, Look&& look) noexcept {
    each_lane(pool, [&](std::uint32_t lane) {
        const std::uint64_t waits = read(entry_of(pool, lane).waits);
        if ((waits & waits_bit) != 0 && lane_lives(*attachment_of(&pool), lane)) {
            look(Waiting{waits, lane});
        }
    });
}

/// Slots in one state, up to `most`. Those that have just come to it may be missing from it: who
/// has brought them there looks at the queue behind that.
template <class Counts>
std::uint64_t count_up_to(PoolBody& body, Hint hint, std::uint64_t most, Counts&& counts) noexcept {
    std::uint64_t found = 0;
    const auto look = [&](std::uint64_t index) { found += counts(index) ? 1 : 0; };
    if (body.capacity <= 64) {
        for (std::uint64_t index = 0; index < body.capacity && found < most; ++index) look(index);
        return found;
    }
    HintTree hints = hints_of(body, hint);
    for (std::uint64_t leaf = hints.next_leaf_surely(0); leaf != no_index && found < most;
         leaf = hints.next_leaf_surely(leaf + 1)) {
        for (std::uint64_t bits = hints.leaf(leaf); bits != 0 && found < most; bits &= bits - 1) {
            const std::uint64_t index =
                leaf * 64 + static_cast<std::uint64_t>(std::countr_zero(bits));
            if (index < body.capacity) look(index);
        }
    }
    if (hint != Hint::empty) return found;
    for (std::uint64_t index = read(body.virgin); index < body.capacity && found < most; ++index) {
        look(index);
    }
    return found;
}
std::uint64_t idle_up_to(PoolBody& body, std::uint64_t most) noexcept {
    const std::uint64_t now = has_life(body) ? clock_ns() : 0;
    return count_up_to(body, Hint::free, most, [&](std::uint64_t index) {
        return word::state(truth_of(body, index)) == SlotState::free &&
               !is_past_lifetime(body, index, now);
    });
}
/// Those that a factory may be run for now.
std::uint64_t places_up_to(PoolBody& body, std::uint64_t most) noexcept {
    return count_up_to(body, Hint::empty, std::min(most, free_turns(body)),
                       [&](std::uint64_t index) {
                           return word::state(truth_of(body, index)) == SlotState::empty;
                       });
}

/// What is due to some of those who wait, and whether that leaves anything for one more. Who wants
/// either gets what nobody else can use.
class Due {
public:
    void add(const Waiting& one) noexcept {
        (one.wants_place() ? either_ : slots_) += slots_of(one.waits);
    }
    [[nodiscard]] bool nothing() const noexcept { return slots_ + either_ == 0; }
    [[nodiscard]] bool leaves_idle(PoolBody& body, std::uint64_t wanted) const noexcept {
        const std::uint64_t places = either_ != 0 ? places_up_to(body, either_) : 0;
        const std::uint64_t due = slots_ + either_ - places;
        return idle_up_to(body, due + wanted) >= due + wanted;
    }
    [[nodiscard]] bool leaves_place(PoolBody& body) const noexcept {
        const std::uint64_t idle = either_ != 0 ? idle_up_to(body, slots_ + either_) : 0;
        const std::uint64_t due = either_ - std::min(either_, idle > slots_ ? idle - slots_ : 0);
        return places_up_to(body, due + 1) > due;
    }

private:
    std::uint64_t slots_ = 0;   // to those who want nothing else
    std::uint64_t either_ = 0;  // slots or places
};

/// To those before this thread.
Due due_before(const PoolObject& pool, const PoolCache& cache) noexcept {
    Due due;
    const Waiting mine{cache.waits, cache.lane};
    each_waiting(pool, [&](const Waiting& waiting) {
        if (cache.waits == 0 || waiting.is_before(mine)) due.add(waiting);
    });
    return due;
}

/// In a hook one takes before all others.
bool takes_its_turn(const PoolBody& body, const PoolCache& cache) noexcept {
    return !cache.settling && somebody_waits(body);
}

}  // namespace

bool idle_is_left(PoolObject& pool, const PoolCache& cache, std::uint64_t wanted) noexcept {
    PoolBody& body = body_of(pool);
    if (!takes_its_turn(body, cache)) return true;
    const Due due = due_before(pool, cache);
    // Who wants one finds out by taking it; of several it would have to give back what is too
    // little.
    return (due.nothing() && wanted == 1) || due.leaves_idle(body, wanted);
}

bool place_is_left(PoolObject& pool, const PoolCache& cache) noexcept {
    PoolBody& body = body_of(pool);
    if (!takes_its_turn(body, cache)) return true;
    const Due due = due_before(pool, cache);
    return due.nothing() || due.leaves_place(body);
}

void wake_queue(PoolObject& pool) noexcept {
    each_lane(pool, [&](std::uint32_t lane) { wake(entry_of(pool, lane).event, everybody); });
}

void serve_queue(PoolObject& pool) noexcept {
    PoolBody& body = body_of(pool);
    const Attachment* attachment = attachment_of(&pool);
    if (!somebody_waits(body) || attachment == nullptr) return;
    // What others have given back at this moment, each of whom may see only his own.
    heavy_fence(attachment->others_light());
    bool met = false;
    bool want_places = false;
    each_waiting(pool, [&](const Waiting& waiting) { want_places |= waiting.serves_place(); });
    Due due;
    Waiting last{0, 0};
    for (;;) {
        Waiting next{0, 0};
        each_waiting(pool, [&](const Waiting& waiting) {
            if (last.waits != 0 && !last.is_before(waiting)) return;
            if (next.waits == 0 || waiting.is_before(next)) next = waiting;
        });
        if (next.waits == 0) break;
        // Who wants several looks at what there is for one.
        const bool idle = due.leaves_idle(body, 1);
        const bool place = want_places && due.leaves_place(body);
        if (!idle && !place) break;
        if (idle || next.serves_place()) {
            Atomic<std::uint32_t>& event = entry_of(pool, next.lane).event;
            // D4 release RMW -> D2. kept: as in wake_some.
            event.fetch_add(1, std::memory_order_release);
            met = os::futex_wake(event, everybody) > 0 || met;
        }
        due.add(next);
        last = next;
    }
    if (!met) drop_stale_demand(pool);
}

void repair_queue(PoolObject& pool, const DeadLanes& dead) noexcept {
    for (std::uint32_t lane = 0; lane < pool.queue.extent; ++lane) {
        Atomic<std::uint64_t>& word = entry_of(pool, lane).waits;
        // I3 acquire load <- I2: the lane is looked at behind it. kept: by an older word the swap
        // would fail.
        std::uint64_t waits = word.load(std::memory_order_acquire);
        if (waits == 0 || !dead.names(lane)) continue;
        // I4 relaxed RMW, no pair: a new owner of the lane has written another ticket. kept: torn,
        // it could take that one's turn until it looks again; no scene has a late repairer here.
        word.compare_exchange_strong(waits, 0, std::memory_order_relaxed,
                                     std::memory_order_relaxed);
    }
}

void forget_queue(PoolObject& pool, std::uint32_t lane) noexcept {
    if (lane >= pool.queue.extent) return;
    // I2 release store -> I3: nothing but damage is found here. kept: as in show.
    entry_of(pool, lane).waits.store(0, std::memory_order_release);
}

PlaceInQueue::PlaceInQueue(PoolObject& pool, PoolCache& cache, const LaneView& lane,
                           std::uint64_t wanted, bool or_place) noexcept
    : pool_{pool}, cache_{cache}, lane_{lane}, queued_{detail::is_queued(body_of(pool))} {
    if (!queued_) return;
    // I1 relaxed RMW, no pair: its value is what it is for. kept: torn, two have one number, and
    // their lanes say who is first.
    const std::uint64_t ticket = body_of(pool).next_ticket.fetch_add(1, std::memory_order_relaxed);
    waits_ = waits_bit | (or_place ? or_place_bit : 0) | (cache.settling ? 0 : ordinary_bit) |
             (wanted - 1) << ticket_bits | (ticket & ((std::uint64_t{1} << ticket_bits) - 1));
    before_ = std::exchange(cache.waits, waits_);
}

PlaceInQueue::~PlaceInQueue() {
    if (!queued_ || !is_epoch_of_process(epoch_)) return;
    if (announced_) leave();
    cache_.waits = before_;
}

/// Several threads on the process's lane stand where the first of them stands.
void PlaceInQueue::show() noexcept {
    std::uint64_t waits = waits_;
    bool place = (waits_ & or_place_bit) != 0;
    if (lane_.shared) {
        const PoolPrivate& own = *cache_.own;
        for (const PlaceInQueue* one = own.queue; one != nullptr; one = one->next_) {
            place = place || (one->waits_ & or_place_bit) != 0;
            if (came_before(one->waits_, waits)) waits = one->waits_;
        }
    }
    if (place) waits |= lane_place_bit;
    // I2 release store -> I3: and the mark behind it publishes it. kept: a repairer that takes the
    // word for a dead one's is told by its number.
    entry_of(pool_, lane_.lane).waits.store(waits, std::memory_order_release);
}

void PlaceInQueue::announce() noexcept {
    const bool linked = std::exchange(announced_, true) && queued_ && lane_.shared;
    if (linked) return;
    if (queued_ && !lane_.shared) {
        // A hook may have waited here itself, under another ticket.
        show();
    } else if (queued_) {
        PoolPrivate& own = *cache_.own;
        const ProcessLock lock;
        if (std::exchange(own.queue_epoch, epoch_) != epoch_) own.queue = nullptr;
        next_ = std::exchange(own.queue, this);
        show();
    }
    announce_wait(pool_, lane_);
}

void PlaceInQueue::hide() noexcept {
    announced_ = false;
    Atomic<std::uint64_t>& word = entry_of(pool_, lane_.lane).waits;
    if (!lane_.shared) {
        // I2 release store -> I3. kept: as in show.
        word.store(0, std::memory_order_release);
        return;
    }
    PoolPrivate& own = *cache_.own;
    const ProcessLock lock;
    PlaceInQueue** link = &own.queue;
    while (*link != this) link = &(*link)->next_;
    *link = next_;
    if (own.queue != nullptr) return own.queue->show();
    // I2 release store -> I3. kept: as in show.
    word.store(0, std::memory_order_release);
}

void PlaceInQueue::want_place(bool wanted) noexcept {
    if (!queued_ || wanted == ((waits_ & or_place_bit) != 0)) return;
    {
        const ProcessLock lock;
        waits_ ^= or_place_bit;
        cache_.waits = waits_;
        if (announced_) show();
    }
    if (announced_ && !wanted) serve_queue(pool_);
}

void PlaceInQueue::pause() noexcept {
    if (!queued_ && lane_.shared) withdraw_wait(pool_, lane_);
}

void PlaceInQueue::step_aside() noexcept {
    if (!queued_ || !announced_) return;
    hide();
    if (lane_.shared) withdraw_wait(pool_, lane_);
    serve_queue(pool_);
}

void PlaceInQueue::leave() noexcept {
    if (!queued_) return withdraw_wait(pool_, lane_);
    const bool counted = announced_ || !lane_.shared;
    if (announced_) hide();
    if (counted) withdraw_wait(pool_, lane_);
    serve_queue(pool_);
}

Atomic<std::uint32_t>& PlaceInQueue::event() const noexcept {
    return queued_ ? entry_of(pool_, lane_.lane).event : body_of(pool_).event;
}

}  // namespace lagoon::inline v1::detail
