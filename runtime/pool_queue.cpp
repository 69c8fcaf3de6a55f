// pool_queue.cpp: waiters who are served in the order of their coming.
//
// Whoever waits has a ticket, beside its mark in the demand. Nothing is granted to anybody: one may
// take when so much is idle that all who came before it are served as well. So a stopped process
// keeps what is due to it, and holds up nobody else; and what is due to a dead one is the next
// one's as soon as its lane is repaired. The tickets are read before the slots: who is ahead may
// have taken its own meanwhile, which leaves less, and never more.
//
//   killed                                leaves
//   waiter, before its mark               a ticket that nobody looks at
//   waiter, after its mark                a mark and a ticket of a dead lane, over which others
//   step waiter, with its slot, before its     as above; its death wakes all mark is gone or the
//   next one woken releaser, before it wakes anybody     its death wakes all
//
//   Edges      I2 with D1 (pool_wait.cpp): a ticket is there when its mark is seen
#include "pool_queue.hpp"

#include <algorithm>
#include <bit>

#include "os.hpp"
#include "process_state.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr std::uint64_t or_place_bit = std::uint64_t{1} << 32;

QueueEntry& entry_of(const PoolObject& pool, std::uint64_t lane) noexcept {
    auto* object = reinterpret_cast<std::byte*>(const_cast<PoolObject*>(&pool));
    return reinterpret_cast<QueueEntry*>(object + pool.queue.from_object)[lane];
}

/// One who waits.
struct Waiting {
    std::uint64_t ticket;
    std::uint32_t lane;
    std::uint64_t slots;
    bool or_place;
    /// No two are at the same place, whatever their tickets say.
    [[nodiscard]] bool is_before(std::uint64_t other, std::uint32_t other_lane) const noexcept {
        return ticket != other ? ticket < other : lane < other_lane;
    }
};

/// Calls `look` for whoever waits and is not dead.
template <class Look>
void each_waiting(const PoolObject& pool, Look&& look) noexcept {
    const PoolBody& body = body_of(pool);
    const Attachment& attachment = *attachment_of(&pool);
    // D3 seq_cst load, no pair: ordered with D1. kept: by the fence before it.
    const std::uint64_t summary = body.demand.load(std::memory_order_seq_cst);
    for (std::uint32_t leaf = 0; leaf < demand_leaves; ++leaf) {
        if ((summary >> leaf & 1) == 0) continue;
        // D5 seq_cst load, no pair: ordered with D1. kept: as above.
        std::uint64_t bits = body.demand_leaf[leaf].load(std::memory_order_seq_cst);
        for (; bits != 0; bits &= bits - 1) {
            const auto lane = leaf * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
            if (lane >= pool.queue.extent || !lane_lives(attachment, lane)) continue;
            const QueueEntry& entry = entry_of(pool, lane);
            const std::uint64_t wants = read(entry.wants);
            look(Waiting{read(entry.ticket), lane,
                         std::clamp<std::uint64_t>(wants & (or_place_bit - 1), 1, body.capacity),
                         (wants & or_place_bit) != 0});
        }
    }
}

/// What is due to some of those who wait.
struct Due {
    std::uint64_t slots = 0;   // to those who want nothing else
    std::uint64_t either = 0;  // slots or places
    void add(const Waiting& waiting) noexcept {
        (waiting.or_place ? either : slots) += waiting.slots;
    }
    [[nodiscard]] std::uint64_t all() const noexcept { return slots + either; }
};

/// Slots in one state, up to `most`. Those that have just come to it may be missing from it: who
/// has brought them there looks at the queue behind that.
std::uint64_t count_up_to(PoolBody& body, Hint hint, SlotState state, std::uint64_t most) noexcept {
    std::uint64_t found = 0;
    const auto look = [&](std::uint64_t index) {
        found += word::state(truth_of(body, index)) == state ? 1 : 0;
    };
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
    return count_up_to(body, Hint::free, SlotState::free, most);
}
std::uint64_t places_up_to(PoolBody& body, std::uint64_t most) noexcept {
    return count_up_to(body, Hint::empty, SlotState::empty, most);
}

bool somebody_waits(const PoolBody& body) noexcept {
    // D3 seq_cst load, no pair: ordered with D1. kept: who waits for what is due to it is woken by
    // who takes it otherwise, so this only keeps the order.
    return (body.demand.load(std::memory_order_seq_cst) & ~(demand_bulk | demand_attention)) != 0;
}

Due due_before(const PoolObject& pool, const PoolCache& cache) noexcept {
    Due due;
    each_waiting(pool, [&](const Waiting& waiting) {
        // Several threads on one lane have one place together.
        if (waiting.lane == cache.lane && cache.ticket != no_ticket) return;
        if (waiting.is_before(cache.ticket, cache.lane)) due.add(waiting);
    });
    return due;
}

}  // namespace

bool idle_is_left(PoolObject& pool, const PoolCache& cache, std::uint64_t wanted) noexcept {
    PoolBody& body = body_of(pool);
    if (!is_queued(body) || !somebody_waits(body)) return true;
    const std::uint64_t due = due_before(pool, cache).all();
    return due == 0 || idle_up_to(body, due + wanted) >= due + wanted;
}

bool place_is_left(PoolObject& pool, const PoolCache& cache) noexcept {
    PoolBody& body = body_of(pool);
    if (!is_queued(body) || !somebody_waits(body)) return true;
    const Due due = due_before(pool, cache);
    if (due.either == 0) return true;
    const std::uint64_t idle = idle_up_to(body, due.all());
    const std::uint64_t served = idle > due.slots ? idle - due.slots : 0;
    if (served >= due.either) return true;
    const std::uint64_t places = due.either - served;
    return places_up_to(body, places + 1) > places;
}

void serve_queue(PoolObject& pool) noexcept {
    PoolBody& body = body_of(pool);
    if (!somebody_waits(body) || attachment_of(&pool) == nullptr) return;
    // What others have given back at this moment, each of whom may see only his own.
    heavy_fence();
    Due due;
    each_waiting(pool, [&](const Waiting& waiting) { due.add(waiting); });
    std::uint64_t idle = idle_up_to(body, due.all());
    std::uint64_t places = due.either != 0 ? places_up_to(body, due.either) : 0;
    bool any = false;
    Waiting last{0, 0, 0, false};
    bool met = false;
    while (idle != 0 || places != 0) {
        Waiting next{no_ticket, 0, 0, false};
        each_waiting(pool, [&](const Waiting& waiting) {
            if (met && !last.is_before(waiting.ticket, waiting.lane)) return;
            if (next.slots == 0 || waiting.is_before(next.ticket, next.lane)) next = waiting;
        });
        if (next.slots == 0) break;
        last = next;
        met = true;
        if (idle != 0) {
            idle -= std::min(idle, next.slots);
        } else if (next.or_place) {
            --places;
        } else {
            continue;
        }
        Atomic<std::uint32_t>& event = entry_of(pool, next.lane).event;
        // D4 release RMW -> D2. kept: as in wake_some.
        event.fetch_add(1, std::memory_order_release);
        any = os::futex_wake(event, everybody) > 0 || any;
    }
    if (!any) drop_stale_demand(pool);
}

PlaceInQueue::PlaceInQueue(PoolObject& pool, PoolCache& cache, const LaneView& lane,
                           std::uint64_t wanted, bool or_place) noexcept
    : pool_{pool},
      cache_{cache},
      lane_{lane},
      wants_{wanted | (or_place ? or_place_bit : 0)},
      queued_{is_queued(body_of(pool))} {
    if (!queued_) return;
    before_ = cache.ticket;
    // I1 relaxed RMW, no pair: its value is what it is for. kept: torn, two have one number, and
    // their lanes say who is first.
    ticket_ = body_of(pool).next_ticket.fetch_add(1, std::memory_order_relaxed);
    cache.ticket = ticket_;
    write();
}

PlaceInQueue::~PlaceInQueue() {
    if (!queued_ || !is_epoch_of_process(epoch_)) return;
    cache_.ticket = before_;
    serve_queue(pool_);
}

void PlaceInQueue::write() noexcept {
    QueueEntry& entry = entry_of(pool_, lane_.lane);
    // I2 relaxed store, no pair: the mark behind it publishes it.
    entry.ticket.store(ticket_, std::memory_order_relaxed);
    // I2 relaxed store, no pair: as above.
    entry.wants.store(wants_, std::memory_order_relaxed);
}

void PlaceInQueue::announce() noexcept {
    // A hook may have waited here itself, under another ticket.
    if (queued_) write();
    announce_wait(pool_, lane_);
}

void PlaceInQueue::withdraw() noexcept { withdraw_wait(pool_, lane_); }

Atomic<std::uint32_t>& PlaceInQueue::event() const noexcept {
    return queued_ ? entry_of(pool_, lane_.lane).event : body_of(pool_).event;
}

SeenWord PlaceInQueue::of_pool() const noexcept {
    if (!queued_) return {};
    Atomic<std::uint32_t>& event = body_of(pool_).event;
    // D2 acquire load <- D4, E1. kept: as in Waiter::wait.
    return {&event, event.load(std::memory_order_acquire)};
}

}  // namespace lagoon::inline v1::detail
