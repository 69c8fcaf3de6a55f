// scene.hpp: the arena that processes are killed in, and what must hold afterwards.
#pragma once

#include <lagoon/lagoon.hpp>
#include <runtime/attachment.hpp>
#include <string>

#include "support/arenas.hpp"

namespace scene {

using Wide = std::array<std::uint64_t, 8>;
constexpr std::uint64_t resources = 2;

struct Desk {
    lagoon::Counter total{"total"};
    lagoon::Array<int> numbers{"numbers", 6};
    lagoon::Value<Wide> wide{"wide"};
    lagoon::Lock lock{"lock"};
    // However often its borrowers die, a resource is lent on.
    lagoon::Pool<int> pool{"pool", {.capacity = 4, .quarantine_after = 0}};
    lagoon::Counter ready{"ready"};
    void on_create() {
        for (std::uint64_t i = 0; i < resources; ++i) pool.add(static_cast<int>(i));
        numbers[5].store(25);
        ready.add(1);
    }
};

inline lagoon::ArenaOptions small(lagoon::Lifetime lifetime) {
    lagoon::ArenaOptions options;
    options.lifetime = lifetime;
    options.max_processes = 6;
    options.max_threads = 6;
    return options;
}

/// The arena is whole: all that was written before it got its name is there.
inline void require_whole(const lagoon::Arena<Desk>& desk) {
    REQUIRE(desk->ready.load() == 1);
    REQUIRE(desk->numbers.size() == 6);
    REQUIRE(desk->numbers[5].load() == 25);
}

/// Members and lanes are those of this process and of `others` living ones; no word names anybody
/// else; everything can be had.
inline void require_unclaimed(const lagoon::Arena<Desk>& desk, std::size_t others,
                              std::uint64_t filled = resources) {
    (void)desk.reap();
    auto& attachment = desk.attached();
    std::size_t members = 0;
    for (std::uint32_t i = 0; i < attachment.header->max_members; ++i) {
        const auto state = attachment.member_entry(i).state.load(std::memory_order_acquire);
        if (lagoon::detail::is_live(state)) ++members;
    }
    REQUIRE(members == others + 1);
    for (auto i = attachment.header->max_members; i < attachment.header->max_lanes; ++i) {
        const auto state = attachment.lane_entry(i).state.load(std::memory_order_acquire);
        if (!lagoon::detail::is_live(state)) continue;
        const auto member = lagoon::detail::member_of_lane(state);
        REQUIRE(lagoon::detail::is_live(
            attachment.member_entry(member).state.load(std::memory_order_acquire)));
    }
    const auto stats = desk->pool.stats();
    REQUIRE(stats.leased == 0);
    REQUIRE(stats.creating + stats.dirty + stats.maintained + stats.quarantined == 0);
    REQUIRE(stats.idle + stats.empty == stats.capacity);
    if (filled != 0) {
        REQUIRE(stats.idle == filled);
    }
    {
        std::vector<lagoon::Lease<int>> all;
        while (auto lease = desk->pool.try_acquire()) all.push_back(std::move(lease));
        REQUIRE(all.size() == stats.idle);
    }
    // A dead waiter's mark is a hint: it goes when somebody has given back.
    REQUIRE(desk->pool.stats().waiting == 0);
    REQUIRE(desk->lock.try_lock());
    desk->lock.mark_clean();
    desk->lock.unlock();
    const Wide before = desk->wide.load();
    for (const auto word : before) REQUIRE(word == before[0]);
    Wide next = before;
    for (auto& word : next) ++word;
    desk->wide.store(next);
    REQUIRE(desk->wide.load() == next);
}

/// A process that has been killed while attached to a new arena.
inline void leave_stale(const std::string& name) {
    REQUIRE(support::in_child([&] {
                const auto desk =
                    lagoon::Arena<Desk>::create(name, small(lagoon::Lifetime::scoped));
                const auto lease = desk->pool.acquire();
                if (!desk->lock.try_lock()) return 1;
                ::_exit(0);
                return 1;
            }) == support::exited(0));
    REQUIRE(support::exists(support::file_of(name)));
}

/// A process attached to the arena until the end of the test.
class Resident {
public:
    explicit Resident(const std::string& name)
        : process_{[this, name] {
              const auto desk =
                  lagoon::Arena<Desk>::open_or_create(name, small(lagoon::Lifetime::scoped));
              attached_.raise();
              for (;;) ::pause();
              return 0;
          }} {
        attached_.wait();
    }

private:
    support::Flag attached_;
    support::Child process_;
};

/// The name leads to a whole arena or to nothing; a new one can be made; nothing is claimed.
inline void require_reusable(const std::string& name, lagoon::Lifetime lifetime) {
    if (support::exists(support::file_of(name))) {
        const auto opened = support::error_of([&] {
            const auto desk = lagoon::Arena<Desk>::open(name);
            require_whole(desk);
            require_unclaimed(desk, 0);
        });
        // A scoped one whose members are dead is absent; that is the only other answer.
        if (opened) {
            REQUIRE(opened->errc() == lagoon::Errc::no_such_arena);
            REQUIRE(lifetime == lagoon::Lifetime::scoped);
        }
        REQUIRE(support::exists(support::file_of(name)) ==
                (lifetime == lagoon::Lifetime::persistent));
        (void)lagoon::remove(name);
    }
    const auto fresh = lagoon::Arena<Desk>::create(name, small(lagoon::Lifetime::scoped));
    require_whole(fresh);
    require_unclaimed(fresh, 0);
}

}  // namespace scene
