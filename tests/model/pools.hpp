// pools.hpp: scenes about a pool.
#pragma once

#include <lagoon/arena.hpp>
#include <lagoon/lock.hpp>
#include <lagoon/pool.hpp>
#include <lagoon/value.hpp>

#include "machine.hpp"
#include "runtime/lanes.hpp"
#include "runtime/pool_body.hpp"
#include "runtime/reap.hpp"

namespace model {

/// Two words that must agree; written by whoever holds the slot, plainly.
struct Resource {
    std::uint64_t a, b;
};

template <std::size_t Capacity>
struct PoolRoot {
    lagoon::Pool<Resource> pool{
        "pool", {.capacity = Capacity, .on_death = lagoon::OnDeath::reuse, .quarantine_after = 0}};
};

/// What a holder does: nobody else may be at it.
inline void use(Resource& resource) {
    require(resource.a == resource.b, "somebody else is at work on this resource");
    ++resource.a;
    step();
    ++resource.b;
    require(resource.a == resource.b, "somebody else is at work on this resource");
}
/// As use, where a holder before may have died in the middle.
inline void use_recovered(Resource& resource) {
    resource.b = resource.a;
    use(resource);
}

/// A moment that comes when the scheduler wants it; nearer than the cap of any sleep.
constexpr std::chrono::steady_clock::time_point in_a_while{std::chrono::milliseconds{10}};

/// Waits for an idle resource or makes one.
template <class Root>
void make_or_take(Root& root) {
    auto lease = root.pool.acquire_or_create([](Resource& made) {
        made = {7, 7};
        step();
    });
    require(static_cast<bool>(lease), "neither a resource nor a place");
    use(*lease);
    lease.discard();
}

template <std::size_t Capacity, class RootOfScene = PoolRoot<Capacity>>
class PoolScene : public Scene<RootOfScene> {
public:
    using Root = RootOfScene;
    using Base = Scene<Root>;

    explicit PoolScene(std::string name, MachineOptions options = {})
        : Base{std::move(name), std::move(options)} {
        this->check([](Root& root) { check_pool(root); });
    }
    PoolScene& idle(int count) {
        this->arranged([count](Root& root) {
            for (int i = 0; i < count; ++i) root.pool.add({0, 0});
        });
        return *this;
    }
    /// Takes what is there and gives it back, `times` over; does not wait.
    PoolScene& borrower(std::string name, int process, int times = 1) {
        return thread(std::move(name), process, [times](Root& root) {
            for (int i = 0; i < times; ++i) {
                if (auto lease = root.pool.try_acquire()) borrow(lease);
            }
        });
    }
    /// As a borrower, who also sweeps what hints he finds stale: a deadline that has passed.
    PoolScene& sweeper(std::string name, int process) {
        return thread(std::move(name), process, [](Root& root) {
            if (auto lease = root.pool.acquire_until({})) borrow(lease);
        });
    }
    /// Waits for one and gives it back.
    PoolScene& waiter(std::string name, int process) {
        return thread(std::move(name), process, [](Root& root) {
            auto lease = root.pool.acquire();
            require(static_cast<bool>(lease), "an acquire without a deadline came back empty");
            borrow(lease);
        });
    }
    /// Holds one from the beginning, and gives it back. `warm`: it had it before, so that the
    /// slot's hint bit is set, and the release ends on its fast path unless it sees demand.
    PoolScene& holder(std::string name, int process, bool warm = false) {
        auto held = std::make_shared<lagoon::Lease<Resource>>();
        this->actor(
            std::move(name), process,
            [held](Root&) {
                borrow(*held);
                held->give_back();
            },
            [held, warm](Root& root) {
                if (warm) root.pool.try_acquire().give_back();
                // The lease of the execution before is nobody's any more.
                ::new (held.get()) lagoon::Lease<Resource>{root.pool.try_acquire()};
                require(static_cast<bool>(*held), "nothing to hold");
            });
        return *this;
    }
    /// Begins with all that is idle given back by it, so that it keeps what it may.
    PoolScene& keeper(std::string name, int process, std::function<void(Root&)> code) {
        this->actor(std::move(name), process, std::move(code), [](Root& root) {
            std::vector<lagoon::Lease<Resource>> all;
            while (auto lease = root.pool.try_acquire()) all.push_back(std::move(lease));
        });
        return *this;
    }
    /// Repairs whoever has died.
    PoolScene& reaper(std::string name, int process) {
        return thread(std::move(name), process,
                      [](Root& root) { detail::repair_the_dead(*detail::attachment_of(&root)); });
    }
    PoolScene& thread(std::string name, int process, std::function<void(Root&)> code) {
        this->actor(std::move(name), process, std::move(code),
                    [](Root& root) { (void)detail::cache_of(pool_of(root)); });
        return *this;
    }

    static detail::PoolObject& pool_of(Root& root) {
        return reinterpret_cast<detail::PoolObject&>(root.pool);
    }
    /// Nobody has taken the slot from under its holder, who calls this.
    static void require_mine(Root& root, const lagoon::Lease<Resource>& lease) {
        const std::uint64_t word =
            detail::pool_slot(pool_of(root), lease.index()).truth.load(std::memory_order_relaxed);
        const std::uint32_t owner = detail::word::owner(word);
        // Perhaps taken in the process's name, and the thread has got a lane since.
        const detail::LaneView& lane = detail::lane_of(&root);
        require(detail::word::state(word) == detail::SlotState::held &&
                    (owner == lane.lane || owner == lane.member),
                "a slot was taken from its living holder");
        require(detail::lane_lives(*lane.attachment, owner), "a lane was taken from its owner");
    }
    static void borrow(lagoon::Lease<Resource>& lease) {
        if (lease.recovered()) {
            use_recovered(*lease);
        } else {
            use(*lease);
        }
    }
    /// Nothing is lost: after a repair every resource is found again, each once.
    static void check_pool(Root& root) {
        detail::repair_the_dead(*detail::attachment_of(&root));
        const lagoon::PoolStats stats = root.pool.stats();
        require(stats.leased == 0, "a slot is still lent");
        require(stats.idle + stats.empty + stats.dirty == Capacity,
                "a slot is in no state of rest");
        require(stats.late_wakes == 0, "a wait was ended by its cap");
        require(stats.damaged == 0, "a slot was changed under its holder");
        std::vector<lagoon::Lease<Resource>> all;
        for (std::uint64_t i = 0; i < stats.idle; ++i) {
            all.push_back(root.pool.try_acquire());
            require(static_cast<bool>(all.back()), "an idle slot was not found");
        }
        for (auto& lease : all) lease.give_back();
    }
};

}  // namespace model
