// pool.hpp: resources that many processes take, use and give back: a lock-free free-list.
//
//   Shape      one cache line in the struct; a slot is 16 bytes and its value, rounded up to the
//              cache line unless dense, and 3.05 bits of hints; a cache line per lane
//   Unit       slots; the capacity is fixed when the arena is created
//   Progress   try_acquire and giving back are lock-free, noexcept, allocate nothing (but for a
//              thread's first call, which takes a lane under a mutex, and those beyond max_threads,
//              which ask under it each time), also in a signal handler that gives back what it has
//              taken; giving back makes a system call only when somebody waits, and in a closed
//              pool runs destroy. The waiting forms sleep. Factories and hooks run outside of any
//              lock
//   Errors     the set-up errors of every member; invalid_argument for a capacity that cannot be.
//              Ordinary ends are told by Lease::status(). A factory's exception reaches its caller
//   Death      of a borrower: the resource comes back by OnDeath, recovered() says so; of a builder
//              or destroyer: destroy gets the value as it was left; of a waiter, a reaper: nothing
//              is lost. Repair happens in reap(), at attach, and before anybody waits
//   Fork       a child that is forked in a factory or hook has no part in its parent's call: an
//              exception that leaves the factory there touches nothing, returning from it or from
//              a hook prints and aborts; so does leaving a PoolHooks::factory in any way
//   Order      last in, first out for the last 64 that one thread gave back, where there is
//              neither a PoolLife nor a queue; across threads a recent one is preferred, not
//              promised. Waiters: see PoolOptions::wait_order
//   Source     runtime/DESIGN.md; the hint trees are a bitmap hierarchy with lazily cleared bits
#pragma once

#include <concepts>
#include <new>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <lagoon/arena.hpp>
#include <lagoon/arena_safe.hpp>
#include <lagoon/detail/pool_core.hpp>
#include <lagoon/detail/type_name.hpp>
#include <lagoon/lease.hpp>
#include <lagoon/pool_options.hpp>

namespace lagoon::inline v1 {

template <class T>
class Pool : private detail::PoolObject {
public:
    using value_type = T;
    using options_type = PoolOptions;

    Pool(const char* name, const PoolOptions& options) {
        detail::require_arena_safe<T>();
        detail::enter_pool(this, name, options,
                           {.element_type = detail::type_name<T>(),
                            .element_bytes = sizeof(T),
                            .element_align = alignof(T),
                            .element_shape = detail::type_shape<T>(),
                            .object_bytes = sizeof(Pool)},
                           detail::value_offset<T>);
    }
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    /// An idle resource, or an empty lease at once. Makes no system call, but for the first call of
    /// a thread, which takes a lane, and of a forked child, which attaches; where it ends what is
    /// past its lifetime, and somebody waits for the place; and in a biased arena where all that is
    /// idle is kept by other threads: a membarrier, or a short wait for one that another thread
    /// runs.
    [[nodiscard]] LAGOON_ALWAYS_INLINE Lease<T> try_acquire() noexcept {
        return Lease<T>{*this, detail::pool_try_fast(*this, &detail::pool_try_acquire)};
    }

    /// Waits for an idle resource; `stop` ends the wait with cancelled, close() with closed. In a
    /// process that has a PoolHooks::factory, for one that it makes, too.
    [[nodiscard]] LAGOON_ALWAYS_INLINE Lease<T> acquire(std::stop_token stop = {}) {
        if (Lease<T> now = try_first()) return now;
        return wait_for_idle({detail::for_ever, std::move(stop)});
    }
    template <class Rep, class Period>
    [[nodiscard]] Lease<T> acquire_for(std::chrono::duration<Rep, Period> duration,
                                       std::stop_token stop = {}) {
        if (Lease<T> now = try_first()) return now;
        return wait_for_idle({detail::deadline_after(duration), std::move(stop)});
    }
    [[nodiscard]] Lease<T> acquire_until(std::chrono::steady_clock::time_point deadline,
                                         std::stop_token stop = {}) {
        if (Lease<T> now = try_first()) return now;
        return wait_for_idle({deadline, std::move(stop)});
    }

    /// An idle resource; else, below capacity, the one that `make` makes now; else waits for
    /// whichever comes first, a return or a place. `make` is `T()`, or `void(T&, Slot)` which fills
    /// the resource in place, so that what it has written survives its process. What takes longer
    /// than PoolLimits::create is not lent: an empty lease, timed_out in the phase creating.
    template <PoolFactory<T> Factory>
    [[nodiscard]] Lease<T> acquire_or_create(Factory&& make, std::stop_token stop = {}) {
        return take_or_make(make, [&] {
            return detail::Patience{detail::for_ever, std::move(stop)};
        });
    }
    template <class Rep, class Period, PoolFactory<T> Factory>
    [[nodiscard]] Lease<T> acquire_or_create_for(std::chrono::duration<Rep, Period> duration,
                                                 Factory&& make, std::stop_token stop = {}) {
        return take_or_make(make, [&] {
            return detail::Patience{detail::deadline_after(duration), std::move(stop)};
        });
    }
    template <PoolFactory<T> Factory>
    [[nodiscard]] Lease<T> acquire_or_create_until(std::chrono::steady_clock::time_point deadline,
                                                   Factory&& make, std::stop_token stop = {}) {
        return take_or_make(make, [&] { return detail::Patience{deadline, std::move(stop)}; });
    }
    /// As acquire_or_create, but an empty lease instead of a wait.
    template <PoolFactory<T> Factory>
    [[nodiscard]] Lease<T> try_acquire_or_create(Factory&& make) {
        return acquire_or_create_until(std::chrono::steady_clock::time_point::min(),
                                       std::forward<Factory>(make));
    }

    /// `count` idle resources or none: an empty vector when the deadline passes first. While it
    /// waits it holds none of them. More than capacity() can never be had: at once empty.
    [[nodiscard]] std::vector<Lease<T>> acquire_n(Count count, std::stop_token stop = {}) {
        return acquire_n_patiently(count, {detail::for_ever, std::move(stop)});
    }
    template <class Rep, class Period>
    [[nodiscard]] std::vector<Lease<T>> acquire_n_for(std::chrono::duration<Rep, Period> duration,
                                                      Count count, std::stop_token stop = {}) {
        return acquire_n_patiently(count, {detail::deadline_after(duration), std::move(stop)});
    }
    [[nodiscard]] std::vector<Lease<T>> acquire_n_until(
        std::chrono::steady_clock::time_point deadline, Count count, std::stop_token stop = {}) {
        return acquire_n_patiently(count, {deadline, std::move(stop)});
    }
    /// As acquire_n, but empty at once. When it finds too few it gives them back, which makes a
    /// system call if somebody waits.
    [[nodiscard]] std::vector<Lease<T>> try_acquire_n(Count count) {
        return acquire_n_patiently(count, {std::chrono::steady_clock::time_point::min(), {}});
    }

    /// Puts a resource in, idle; false when at capacity or closed.
    bool add(const T& resource) {
        const detail::Taken place = detail::pool_begin_build(*this);
        if (place.word == 0) return false;
        Build build{*this, place};
        ::new (value_of(place)) T{resource};
        return build.finish(detail::Built::by_add).word != 0;
    }

    [[nodiscard]] std::uint64_t capacity() const noexcept { return body.extent; }
    /// Slots that are idle now, counted in one pass over all of them.
    [[nodiscard]] std::uint64_t idle() const noexcept {
        return detail::pool_count(*this, detail::SlotState::free);
    }
    [[nodiscard]] std::uint64_t leased() const noexcept {
        return detail::pool_count(*this, detail::SlotState::held);
    }
    /// What it meant here, for a log: with the pool's counts and who holds its leases.
    [[nodiscard]] std::string explain(Outcome o) const { return detail::pool_explain(*this, o); }
    /// The leases that are held for longer than PoolLife::lease_limit, in the order of their slots.
    [[nodiscard]] std::vector<OverdueLease> overdue() const { return detail::pool_overdue(*this); }
    [[nodiscard]] PoolStats stats() const { return detail::pool_stats(*this); }
    /// Where PoolLife::measure is set; else all zeroes.
    [[nodiscard]] PoolTimes times() const { return detail::pool_times(*this); }

    /// Every slot in turn, each as it was at some moment; with the value of those that were idle.
    [[nodiscard]] std::vector<SlotInfo<T>> snapshot() const {
        std::vector<SlotInfo<T>> all;
        all.reserve(capacity());
        alignas(T) unsigned char bytes[sizeof(T)];
        detail::pool_snapshot(const_cast<Pool&>(*this), bytes, [&](const auto& slot) {
            SlotInfo<T>& info = all.emplace_back();
            info.index = slot.index;
            info.state = slot.state;
            info.fill = slot.fill;
            info.owner_pid = slot.owner_pid;
            info.uses = slot.uses;
            info.recovered = slot.recovered;
            info.age = slot.age;
            if (slot.has_value) info.value = *std::launder(reinterpret_cast<T*>(bytes));
        });
        return all;
    }

    /// Destroys what is idle, dirty or quarantined; returns how many slots became empty.
    std::uint64_t clear() { return detail::pool_clear(*this); }
    /// Lends no more: waiters return closed, idle resources are destroyed now, lent ones when they
    /// come back.
    void close() { detail::pool_close(*this); }
    /// As close(), then waits until all that is lent is given back, or its borrower dead: ok.
    /// When `stop` or the deadline ends the wait it says so; the pool stays closed.
    Outcome drain(std::stop_token stop = {}) { return drain_until(detail::for_ever, stop); }
    template <class Rep, class Period>
    Outcome drain_for(std::chrono::duration<Rep, Period> duration, std::stop_token stop = {}) {
        return drain_until(detail::deadline_after(duration), stop);
    }
    Outcome drain_until(std::chrono::steady_clock::time_point deadline, std::stop_token stop = {}) {
        return detail::pool_drain(*this, {deadline, std::move(stop)});
    }
    [[nodiscard]] bool closed() const noexcept { return detail::pool_is_closed(*this); }

private:
    template <class Root>
    friend class Arena;

    /// A slot being built; gives its place back unless finished. A child that was forked in the
    /// factory has a copy, which is not its own to end.
    struct Build {
        Pool& pool;
        detail::Taken place;
        std::uint64_t epoch = detail::process_epoch();
        bool done = false;
        detail::Taken finish(detail::Built how, detail::Deadline until = detail::for_ever) {
            done = true;
            return detail::pool_finish_build(pool, place, how, until);
        }
        ~Build() {
            if (!done && detail::is_epoch_of_process(epoch)) {
                detail::pool_fail_build(pool, place);
            }
        }
    };

    void* value_of(detail::Taken taken) noexcept {
        return reinterpret_cast<std::byte*>(&detail::pool_slot(*this, taken.index)) +
               detail::value_offset<T>;
    }
    LAGOON_ALWAYS_INLINE Lease<T> try_first() noexcept {
        return Lease<T>{*this, detail::pool_try_fast(*this, &detail::pool_try_first)};
    }
    [[gnu::noinline]] Lease<T> wait_for_idle(const detail::Patience& patience) {
        return Lease<T>{*this, detail::pool_held(*this, detail::pool_acquire(
                                                            *this, detail::Want::idle, patience))};
    }
    template <class Factory, class MakePatience>
    LAGOON_ALWAYS_INLINE Lease<T> take_or_make(Factory& make, MakePatience&& patience) {
        if (Lease<T> now = try_first()) return now;
        return take_or_make_slow(make, patience());
    }
    template <class Factory>
    [[gnu::noinline]] Lease<T> take_or_make_slow(Factory& make, const detail::Patience& patience) {
        detail::Taken taken = detail::pool_acquire(*this, detail::Want::idle_or_building, patience);
        if (taken.word != 0 && detail::word::state(taken.word) == detail::SlotState::building) {
            taken = build(make, taken);
        }
        return Lease<T>{*this, detail::pool_held(*this, taken)};
    }
    template <class Factory>
    detail::Taken build(Factory& make, detail::Taken place) {
        Build build{*this, place};
        const detail::Deadline until = detail::pool_create_until(*this);
        const Slot slot{place.index, detail::pool_fill(*this, place.index)};
        detail::make_at<T>(value_of(place), make, slot, until);
        return build.finish(detail::Built::to_lend, until);
    }
    std::vector<Lease<T>> acquire_n_patiently(Count count, const detail::Patience& patience) {
        std::vector<Lease<T>> leases;
        if (count > capacity() || count == 0) return leases;
        leases.reserve(count);
        std::vector<detail::Taken> taken(count);
        if (detail::pool_acquire_n(*this, count, taken.data(), patience) != Outcome::ok) return {};
        for (const auto& one : taken)
            leases.push_back(Lease<T>{*this, detail::pool_held(*this, one)});
        return leases;
    }
};

template <class Root>
template <class T>
void Arena<Root>::hooks(Pool<T>& pool, std::type_identity_t<PoolHooks<T>> hooks) const {
    detail::ErasedHooks erased;
    const auto erase = [](auto hook, auto& into) {
        if (!hook) return;
        into = [hook = std::move(hook)](void* resource, Slot slot, detail::Deadline until) {
            return hook(*static_cast<T*>(resource), slot, until);
        };
    };
    erase(std::move(hooks.on_create), erased.on_create);
    erase(std::move(hooks.check), erased.check);
    erase(std::move(hooks.reset), erased.reset);
    erase(std::move(hooks.destroy), erased.destroy);
    erased.on_overdue = std::move(hooks.on_overdue);
    if (hooks.factory) erased.factory = std::move(hooks.factory);
    detail::pool_set_hooks(pool, std::move(erased));
}

template <class Root>
template <class T, class Class>
requires std::derived_from<Root, Class>
void Arena<Root>::hooks(Pool<T> Class::*pool, std::type_identity_t<PoolHooks<T>> given) const {
    hooks(root().*pool, std::move(given));
}

}  // namespace lagoon::inline v1
