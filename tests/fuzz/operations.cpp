// operations.cpp: an operation is used as its contract asks, whatever the arena's words say; so a
// lock is taken and unlocked only where its word says that this is in order.
//
// What no process could tell from a living one that is merely slow is waited for, and therefore
// left out: a wide value that is claimed in the name of a living lane of another thread.
#include "operations.hpp"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <stdexcept>
#include <thread>
#include <utility>

#include <lagoon/detail/lane.hpp>
#include <lagoon/detail/value_core.hpp>

#include "runtime/attachment.hpp"

namespace fuzz {

namespace {

using namespace std::chrono_literals;
using lagoon::detail::Atomic;

constexpr auto moment = 100us;
constexpr std::size_t most_leases = 6;

struct Refused : std::runtime_error {
    Refused() : std::runtime_error{"the factory has nothing"} {}
};

/// Whether hooks and factories do what they should.
std::atomic<bool> good = true;

template <class T>
lagoon::PoolHooks<T> some_hooks() {
    return {.check = [](T&, lagoon::Slot) -> bool { return good; },
            .destroy = [](T&, lagoon::Slot) {},
            .on_overdue = [](const lagoon::OverdueLease&) {}};
}
template <class T>
T make_if_good() {
    if (!good) throw Refused{};
    return T{};
}
template <class T>
void give_factory(const lagoon::Arena<Desk>& arena, lagoon::Pool<T>& pool) {
    lagoon::PoolHooks<T> hooks = some_hooks<T>();
    hooks.factory = &make_if_good<T>;
    arena.hooks(pool, std::move(hooks));
}

std::size_t threads_now() {
    const std::filesystem::directory_iterator threads{"/proc/self/task"};
    return static_cast<std::size_t>(std::distance(begin(threads), end(threads)));
}

/// The engine's, which are there before the first script.
std::size_t own_threads = 0;

/// Claimed by a lane that a living thread other than this one may have.
bool is_claimed_by_the_living(const void* value) {
    // Plain look for the harness; the value is changed by this thread alone.
    const auto& core = *static_cast<const lagoon::detail::ValueCore*>(value);
    const std::uint64_t word = core.selector.load(std::memory_order_relaxed);
    if ((word & lagoon::detail::selector::claimed_bit) == 0) return false;
    const auto& own = lagoon::detail::lane_of(value);
    const std::uint32_t lane = lagoon::detail::selector::lane(word);
    // In our own name it is nobody's, unless other threads have the lane, too.
    if (lane == own.lane) return own.shared;
    const auto& attachment = *own.attachment;
    const auto& header = *attachment.header;
    std::uint32_t member = lane;
    if (lane >= header.max_lanes) return false;
    if (lane >= header.max_members) {
        const std::uint64_t state =
            attachment.lane_entry(lane).state.load(std::memory_order_relaxed);
        member = lagoon::detail::member_of_lane(state);
        if (!lagoon::detail::is_live(state)) return false;
    }
    return member == attachment.member;  // nobody else lives here
}

template <class T>
void use_wide(lagoon::Value<T>& value, Input& input, const T& next) {
    (void)value.load();
    if (is_claimed_by_the_living(&value)) return;
    switch (input.below(4)) {
        case 0: value.store(next); break;
        case 1: (void)value.exchange(next); break;
        case 2: try { (void)value.update([](const T&) -> T { throw Refused{}; });
            } catch (const Refused&) {
            }
            break;
        default: {
            T expected = value.load();
            (void)value.compare_exchange(expected, next);
        }
    }
}

void use_values(Desk& desk, Input& input) {
    switch (input.below(4)) {
        case 0:
            desk.small.store(1);
            (void)(desk.small += 1);
            (void)desk.small.checked_add(input.take());
            break;
        case 1: use_wide(desk.odd, input, Odd{{1, 2, 3}}); break;
        case 2: use_wide(desk.wide, input, Wide{}); break;
        default: use_wide(desk.note, input, lagoon::String<20>{"note"});
    }
}

void use_plain(Desk& desk, Input& input) {
    desk.total.add(input.take());
    desk.many.add(1);
    (void)desk.many.load();
    for (std::size_t i = 0; i < desk.numbers.size(); ++i) desk.numbers[i].add(1);
    (void)desk.numbers.snapshot();
    for (auto& twelve : desk.table.span()) twelve.b += 1;
    for (auto& line : desk.lines.span()) line.number += 1;
    try {
        (void)desk.numbers.at(input.take()).load();
    } catch (const lagoon::Error&) {
    }
}

void use_lock(lagoon::Lock& lock, Input& input, int* waits) {
    (void)lock.owner_pid();
    (void)lock.owner_died();
    if (lock.is_locked()) {
        const auto& own = lagoon::detail::lane_of(&lock);
        // Bits 0 to 9 are the owner's lane. In our own name it would be locked twice.
        const std::uint64_t word =
            reinterpret_cast<const Atomic<std::uint64_t>*>(&lock)->load(std::memory_order_relaxed);
        if ((word & 0x3ff) == own.lane || (*waits)-- <= 0) return;
        if (!lock.try_lock_for(moment)) return;
    } else if (!lock.try_lock()) {
        return;
    }
    if (input.below(2) == 1) lock.mark_clean();
    lock.unlock();
}

template <class T>
void end_lease(std::vector<lagoon::Lease<T>>& leases, Input& input) {
    if (leases.empty()) return;
    const std::size_t which = input.below(leases.size());
    auto lease = std::move(leases[which]);
    leases.erase(leases.begin() + static_cast<std::ptrdiff_t>(which));
    (void)*lease;
    switch (input.below(7)) {
        case 0: lease.discard(); break;
        case 1: (void)lease.detach(); break;
        case 2:
            lease.mark_clean();
            (void)lease.slot();
            break;
        case 5:
            lease.report_failure();
            lease.mark_broken();
            break;
        case 6: lease.report_failure(); break;
        default: lease.give_back();
    }
}

/// A lease is of one of the pool's slots, whatever the hints say.
template <class T>
void keep(lagoon::Pool<T>& pool, std::vector<lagoon::Lease<T>>& leases, lagoon::Lease<T> lease) {
    if (lease && lease.index() >= pool.capacity()) std::abort();
    if (lease && leases.size() < most_leases) leases.push_back(std::move(lease));
}

template <class T>
void borrow(lagoon::Pool<T>& pool, std::vector<lagoon::Lease<T>>& leases, Input& input,
            int* waits) {
    using lagoon::Slot;
    switch (input.below(8)) {
        case 0:
        case 1: keep(pool, leases, pool.try_acquire()); break;
        case 2:
            if ((*waits)-- > 0) keep(pool, leases, pool.acquire_for(moment));
            break;
        case 3: keep(pool, leases, pool.try_acquire_or_create([] { return T{}; })); break;
        case 4:
            if ((*waits)-- > 0) {
                keep(pool, leases,
                     pool.acquire_or_create_for(moment, [](T& made, Slot) { made = T{}; }));
            }
            break;
        case 5:
            try {
                keep(pool, leases, pool.try_acquire_or_create([]() -> T { throw Refused{}; }));
            } catch (const Refused&) {
            }
            break;
        case 6: {
            const std::uint64_t count = 1 + input.below(4);
            auto many =
                (*waits)-- > 0 ? pool.acquire_n_for(moment, count) : pool.try_acquire_n(count);
            for (auto& lease : many) keep(pool, leases, std::move(lease));
            break;
        }
        default: (void)pool.add(T{});
    }
}

template <class T>
void manage(const lagoon::Arena<Desk>& arena, lagoon::Pool<T>& pool, Input& input) {
    switch (input.below(10)) {
        case 0: pool.clear(); break;
        case 1: pool.close(); break;
        case 8:
            (void)pool.explain(lagoon::Outcome::timed_out);
            (void)pool.overdue();
            break;
        case 9: (void)pool.drain_for(moment); break;
        case 2: {
            // They can be given once.
            const std::uint64_t which = input.below(4);
            good = which % 2 == 1;
            which < 2 ? arena.hooks(pool, some_hooks<T>()) : give_factory(arena, pool);
            break;
        }
        case 3: arena.hooks(pool, {}); break;
        case 4: (void)pool.snapshot(); break;
        default:
            (void)pool.stats();
            (void)(pool.idle() + pool.leased());
            (void)pool.times();
            (void)pool.closed();
    }
}

template <class Use>
void with_pool(Desk& desk, Held& held, Input& input, Use&& use) {
    switch (input.below(12)) {
        case 0:
        case 1:
        case 2: use(desk.few, held.few); break;
        case 3:
        case 4: use(desk.some, held.some); break;
        case 5: use(desk.lined, held.lined); break;
        case 6: use(desk.slots, held.slots); break;
        case 8:
        case 9:
        case 10: use(desk.aged, held.aged); break;
        case 11: use(desk.queued, held.queued); break;
        default: use(desk.some, held.some);
    }
}

void answer(const lagoon::Arena<Desk>& arena, Held& held, Input& input, int* waits) {
    Desk& desk = *arena;
    switch (input.below(16)) {
        case 0: use_plain(desk, input); break;
        case 1:
        case 2: use_values(desk, input); break;
        case 3: use_lock(input.below(2) == 0 ? desk.lock : desk.strict, input, waits); break;
        case 4:
            if ((*waits)-- > 0) (void)desk.wide.wait_for([](const Wide&) { return false; }, moment);
            break;
        case 5:
            if (input.below(8) == 7) {
                // A number that the arena has of somebody; whoever does not have the arena in its
                // memory is not killed, whatever the number says.
                const auto& attachment = *lagoon::detail::attachment_of(&desk);
                const auto which = static_cast<std::uint32_t>(input.below(processes));
                (void)arena.evict_for(moment, attachment.member_entry(which).pid);
            }
            (void)arena.reap();
            break;
        case 6:
        case 7:
            with_pool(desk, held, input, [&](auto& pool, auto&) { manage(arena, pool, input); });
            break;
        case 8:
        case 9:
        case 10:
            with_pool(desk, held, input, [&](auto&, auto& leases) { end_lease(leases, input); });
            break;
        default:
            with_pool(desk, held, input,
                      [&](auto& pool, auto& leases) { borrow(pool, leases, input, waits); });
    }
}

}  // namespace

void operate(const lagoon::Arena<Desk>& arena, Held& held, Input& input, int* waits) {
    const bool by_another_thread = input.below(32) == 31;
    const auto act = [&] {
        try {
            answer(arena, held, input, waits);
        } catch (const lagoon::Error&) {
        } catch (const Refused&) {
            // By a factory that a thread has run for us.
        }
    };
    if (by_another_thread) {
        // It ends at once: what it holds is handed over to the process.
        std::thread{act}.join();
    } else {
        act();
    }
}

void give_hooks(const lagoon::Arena<Desk>& arena) {
    arena.hooks(arena->few, {});
    arena.hooks(arena->some, {});
    arena.hooks(arena->lined, some_hooks<Line>());
    give_factory(arena, arena->slots);
    give_factory(arena, arena->aged);
    give_factory(arena, arena->queued);
}

void begin_script() {
    good = true;
    if (own_threads == 0) own_threads = threads_now();
}

void end_script(Held& held) {
    held = {};
    while (threads_now() > own_threads) std::this_thread::sleep_for(moment / 10);
}

}  // namespace fuzz
