// pool_hooks.cpp: a process's own code for a pool's resources: kept, and run.
//
// A hook runs outside of any lock, on the slot that its caller owns. What a kill in one leaves is
// told in pool_maintain.cpp.
#include <utility>

#include <lagoon/error.hpp>

#include "pool_body.hpp"
#include "pool_creation.hpp"
#include "process_state.hpp"
#include "reap.hpp"

namespace lagoon::inline v1::detail {

namespace {

Slot name_of(PoolBody& body, std::uint64_t index) noexcept {
    // O7 relaxed load, no pair: fixed while we own the slot.
    return {index, meta::fill(slot_of(body, index).meta.load(std::memory_order_relaxed))};
}

/// A child that was forked in a hook is in the middle of a call of its parent's, without the slot,
/// and without the lane and the memory that the call goes on with.
void require_own(std::uint64_t epoch) noexcept {
    if (!is_epoch_of_process(epoch)) {
        contract_failure(
            "a hook of a pool returns in a child that was forked in it: the slot is still the "
            "parent's; end the child in the hook, by exec or _exit");
    }
}

}  // namespace

void run_create(const ErasedHooks& hooks, PoolBody& body, std::uint64_t index, Deadline until) {
    if (!hooks.on_create) return;
    const std::uint64_t epoch = process_epoch();
    hooks.on_create(value_of(body, index), name_of(body, index), until);
    require_own(epoch);
}

void require_own_build(std::uint64_t epoch) noexcept {
    if (!is_epoch_of_process(epoch)) [[unlikely]] {
        contract_failure(
            "a factory returns in a child that was forked in it: the slot is still the parent's; "
            "end the child in the factory, by exec or _exit");
    }
}

void run_factory(const ErasedHooks& hooks, PoolBody& body, std::uint64_t index, Deadline until) {
    hooks.factory(value_of(body, index), name_of(body, index), until);
}

void run_destroy(const ErasedHooks& hooks, PoolBody& body, std::uint64_t index) noexcept {
    if (!hooks.destroy) return;
    const std::uint64_t epoch = process_epoch();
    try {
        hooks.destroy(value_of(body, index), name_of(body, index), for_ever);
    } catch (...) {  // NOLINT(bugprone-empty-catch): a destroy that throws has done its work
    }
    require_own(epoch);
}

void run_overdue(const ErasedHooks& hooks, const OverdueLease& lease) noexcept {
    const std::uint64_t epoch = process_epoch();
    try {
        hooks.on_overdue(lease);
    } catch (...) {  // NOLINT(bugprone-empty-catch): it was told
    }
    require_own(epoch);
}

bool passes(const std::function<bool(void*, Slot, Deadline)>& hook, PoolBody& body,
            std::uint64_t index, std::uint64_t limit_ns) noexcept {
    const std::uint64_t epoch = process_epoch();
    const Deadline until = until_limit(limit_ns);
    bool good = false;
    try {
        good = hook(value_of(body, index), name_of(body, index), until);
    } catch (...) {
        good = false;
    }
    require_own(epoch);
    return good && !is_past(until);
}

void pool_set_hooks(PoolObject& pool, ErasedHooks hooks) {
    const LaneView& lane = lane_of(&pool);
    PoolPrivate& own = pool_private(*lane.attachment, pool);
    const std::uint64_t bits = (hooks.check ? hook_check : 0) | (hooks.reset ? hook_reset : 0) |
                               (hooks.destroy ? hook_destroy : 0);
    {
        const ProcessLock lock;
        // They may be running by now in another thread.
        if (std::exchange(own.hooks_epoch, process_epoch()) == process_epoch()) {
            throw Error{Errc::invalid_argument,
                        name_of_pool(pool) +
                            ": this process has given its hooks before; give them once, before "
                            "the first lease"};
        }
        // In a forked child `hooks` goes with what its parent gave, when the lock is free again.
        std::swap(own.hooks, hooks);
    }
    // O12 release RMW -> O11: from here on a slot that needs one of them waits for it. kept: as
    // O11.
    body_of(pool).hooks.fetch_or(bits, std::memory_order_release);
    Reaped done;
    (void)settle_pool(pool, done, Effort::slots);
}

}  // namespace lagoon::inline v1::detail
