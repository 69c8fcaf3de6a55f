// local.hpp: per process, what goes with a resource and cannot be shared: a socket, an SDK's
// client.
//
//   Shape      private memory: a table from slots to clients
//   Progress   get of a client that exists takes two short locks; a builder holds up only those
//              who want the same slot's client
//   Errors     what the builder throws; nothing is kept then
//   Death      goes with the process. In a forked child it is empty: the parent's clients are
//              abandoned there, not destroyed
//
// A client belongs to one filling of one slot. References stay valid until the slot is filled
// anew and asked for, erase, clear, or a sweep() that finds it refilled or emptied. A builder
// may use the Local for other slots, not for its own. Destroy the Local before what its clients'
// destructors need.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/attachment.hpp>
#include <lagoon/detail/pool_core.hpp>
#include <lagoon/error.hpp>
#include <lagoon/lease.hpp>
#include <lagoon/pool_options.hpp>

namespace lagoon::inline v1 {

namespace detail {
/// Keeps what a forked child must not destroy, for tools that look for lost memory.
void abandon(void* memory) noexcept;

/// Which filling a resource is now, by its address; empty when there is none any more.
template <class Lease>
struct FillOf {
    static std::optional<std::uint64_t> now(const void* resource) {
        return Lease::fill_now(resource);
    }
};
template <class T>
struct FillOf<Lease<T>> {
    static std::optional<std::uint64_t> now(const void* resource) {
        const auto* slot = reinterpret_cast<const SlotHead*>(
            static_cast<const std::byte*>(resource) - value_offset<T>);
        // L1 relaxed load, no pair: the number alone is wanted, nothing that it guards.
        const std::uint64_t meta = slot->meta.load(std::memory_order_relaxed);
        // L2 relaxed load, no pair: as L1.
        const std::uint64_t truth = slot->truth.load(std::memory_order_relaxed);
        if (word::state(truth) == SlotState::empty) return {};
        return meta::fill(meta);
    }
};
}  // namespace detail

/// What Local needs of a lease: the resource, at an address of its own, and its slot.
template <class L>
concept LeaseLike = requires(const L& lease) {
    *lease;
    { lease.slot() } -> std::convertible_to<Slot>;
};

/// Makes a Client, or something that a Client is made of, from the resource.
template <class B, class Client, class L>
concept ClientBuilder = requires(B& builder, const L& lease) {
    Client(std::invoke(builder, *lease));
};

template <class Client>
class Local {
public:
    Local() = default;
    Local(const Local&) = delete;
    Local& operator=(const Local&) = delete;
    /// Destroys the clients; in a forked child, only those that were built there.
    ~Local() {
        // L3 acquire load <- L5. kept: whoever destroys it knows by other means that all are done.
        State* state = state_.load(std::memory_order_acquire);
        if (state == nullptr) return;
        if (state->epoch == detail::process_epoch()) {
            delete state;
        } else {
            detail::abandon(state);
        }
    }

    /// This process's client for the resource in hand; `builder(*lease)` makes it when there is
    /// none for this filling. Waits for another thread that is building the same one.
    template <LeaseLike L, ClientBuilder<Client, L> Builder>
    Client& get(const L& lease, Builder&& builder) {
        auto& resource = *lease;
        const void* where = std::addressof(resource);
        const std::uint64_t fill = lease.slot().fill();
        const ArenaId arena = arena_of(where);
        const std::shared_ptr<Entry> entry = enter(where, &detail::FillOf<L>::now);
        const std::scoped_lock building{entry->mutex};
        if (entry->client == nullptr || entry->fill != fill || entry->arena != arena) {
            entry->client.reset();
            entry->fill = fill;
            entry->arena = arena;
            entry->client.reset(new Client(std::invoke(builder, resource)));
        }
        return *entry->client;
    }

    /// Destroys the clients of slots that were filled anew or emptied since, or whose arena this
    /// process has closed. Returns how many. Those being built are left alone.
    std::size_t sweep() {
        return drop_if([](const void* where, Entry& entry) {
            if (arena_of(where) != entry.arena) return true;
            return entry.fill_now(where) != entry.fill;
        });
    }

    /// Destroys the client of the resource in hand, as after an error on its connection.
    template <LeaseLike L>
    bool erase(const L& lease) {
        const void* wanted = std::addressof(*lease);
        return drop_if([wanted](const void* where, Entry&) { return where == wanted; }, wanted) !=
               0;
    }

    /// Destroys all clients; waits for those being built.
    void clear() {
        for (const auto& [where, entry] : entries()) {
            const std::scoped_lock lock{entry->mutex};
            entry->client.reset();
        }
        prune();
    }

    /// Clients that are built.
    [[nodiscard]] std::size_t size() const {
        std::size_t count = 0;
        for (const auto& [where, entry] : entries()) {
            const std::unique_lock lock{entry->mutex, std::try_to_lock};
            if (lock.owns_lock() && entry->client != nullptr) ++count;
        }
        return count;
    }

private:
    using ArenaId = std::array<std::uint64_t, 2>;  // another arena may come to lie where one was

    struct Entry {
        std::mutex mutex;  // held while the client is built
        std::uint64_t fill = 0;
        ArenaId arena{};
        std::unique_ptr<Client> client;
        std::optional<std::uint64_t> (*fill_now)(const void* resource) = nullptr;
    };
    using Entries = std::vector<std::pair<const void*, std::shared_ptr<Entry>>>;

    /// Of one process. A child of fork finds its parent's, with locks in whatever state.
    struct State {
        std::uint64_t epoch;
        std::mutex mutex;  // of the table; never held while a client is built
        std::map<const void*, std::shared_ptr<Entry>> table;
    };

    static ArenaId arena_of(const void* resource) {
        const detail::Attachment* attachment = detail::attachment_of(resource);
        return attachment != nullptr ? detail::header_of(attachment).id : ArenaId{};
    }

    State& state() const {
        const std::uint64_t epoch = detail::process_epoch();
        // L4 acquire load <- L5. kept: for what State's constructor wrote, in private memory.
        State* found = state_.load(std::memory_order_acquire);
        while (found == nullptr || found->epoch != epoch) {
            auto fresh = std::make_unique<State>();
            fresh->epoch = epoch;
            State* before = found;
            // L5 acq_rel RMW -> L3, L4: the table; another thread's success ends the loop. kept: as
            // L4; torn, two threads would go on with a table each.
            if (state_.compare_exchange_strong(found, fresh.get(), std::memory_order_acq_rel,
                                               std::memory_order_acquire)) {
                if (before != nullptr) detail::abandon(before);
                found = fresh.release();
            }
        }
        return *found;
    }

    std::shared_ptr<Entry> enter(const void* where,
                                 std::optional<std::uint64_t> (*fill_now)(const void*)) {
        State& mine = state();
        const std::scoped_lock lock{mine.mutex};
        std::shared_ptr<Entry>& entry = mine.table[where];
        if (entry == nullptr) {
            entry = std::make_shared<Entry>();
            entry->fill_now = fill_now;
        }
        return entry;
    }

    Entries entries() const {
        State& mine = state();
        const std::scoped_lock lock{mine.mutex};
        return {mine.table.begin(), mine.table.end()};
    }

    template <class Condition>
    std::size_t drop_if(Condition condition, const void* only = nullptr) {
        std::size_t dropped = 0;
        for (const auto& [where, entry] : entries()) {
            if (only != nullptr && where != only) continue;
            const std::unique_lock lock{entry->mutex, std::try_to_lock};
            if (!lock.owns_lock() || entry->client == nullptr) continue;
            if (!condition(where, *entry)) continue;
            entry->client.reset();
            ++dropped;
        }
        if (dropped != 0) prune();
        return dropped;
    }

    /// Forgets entries without a client that nobody is about to fill: whoever is, has a share.
    void prune() {
        State& mine = state();
        const std::scoped_lock lock{mine.mutex};
        std::erase_if(mine.table, [](const auto& pair) {
            const std::unique_lock idle{pair.second->mutex, std::try_to_lock};
            return idle.owns_lock() && pair.second.use_count() == 1 &&
                   pair.second->client == nullptr;
        });
    }

    mutable detail::Atomic<State*> state_{nullptr};
};

}  // namespace lagoon::inline v1
