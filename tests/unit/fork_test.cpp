// fork_test.cpp: a child that was forked, by whichever call, holds nothing of its parent's and
// takes part on its own.
#include <lagoon/lagoon.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>
#include <vector>

#include "support/copies.hpp"

using lagoon::Arena;
using lagoon::ArenaView;
using lagoon::Count;
using lagoon::Lease;
using lagoon::Outcome;
using lagoon::Reaped;
using support::Child;
using support::exists;
using support::exited;
using support::file_of;
using support::Flag;
using support::in_child;
using support::Shared;
using support::unique_name;
using namespace std::chrono_literals;
using namespace support::copies;

TEST_CASE("fork: a child holds nothing until its first use, which attaches it afresh",
          "[fork][process]") {
    const auto way = each_way();
    INFO(name_of(way));
    const auto name = unique_name("fork");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    const std::uint32_t own_member = lagoon::detail::lane_of(&desk.root()).member;
    const std::uint32_t own_lane = lagoon::detail::lane_of(&desk.root()).lane;
    REQUIRE(in_copy(way, [&] {
                if (members_of(name) != 1) return 1;
                // Counters are plain words of the arena: no membership is needed.
                desk->total.add(1);
                if (members_of(name) != 1) return 2;
                desk->hits.add(1);
                if (members_of(name) != 2) return 3;
                const auto& lane = lagoon::detail::lane_of(&desk.root());
                if (lane.member == own_member || lane.lane == own_lane) return 4;
                auto lease = desk->pool.acquire();
                if (!lease || desk->pool.leased() != 1) return 5;
                lease.give_back();
                if (!desk->lock.try_lock()) return 6;
                if (desk->lock.owner_pid() != static_cast<std::uint32_t>(::getpid())) return 7;
                desk->lock.unlock();
                return desk.reap() == Reaped{} ? 0 : 8;
            }) == exited(0));
    REQUIRE(desk->total.load() == 1);
    REQUIRE(desk->hits.load() == 1);
    REQUIRE(desk.reap().processes == 1);
    REQUIRE(members_of(name) == 1);
}

TEST_CASE("fork: a lease of the parent's is not the child's to give back", "[fork][process]") {
    const auto way = each_way();
    INFO(name_of(way));
    const auto name = unique_name("fork");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    REQUIRE(desk->pool.add(2));
    auto lease = desk->pool.acquire();
    auto older = desk->pool.acquire();
    const int value = *lease;
    // Whether the child has used the pool before it drops its copy or not.
    const bool used_first = GENERATE(false, true);
    REQUIRE(in_copy(way, [&] {
                if (used_first && desk->pool.try_acquire().status() != Outcome::would_block) {
                    return 1;
                }
                {
                    const Lease<int> copy = std::move(lease);
                    older = {};
                }
                if (desk->pool.leased() != 2 || desk->pool.idle() != 0) return 2;
                return desk->pool.try_acquire().status() == Outcome::would_block ? 0 : 3;
            }) == exited(0));
    REQUIRE(desk->pool.leased() == 2);
    REQUIRE(desk.reap().leases == 0);
    REQUIRE(*lease == value);
    *lease = 9;
    lease.give_back();
    REQUIRE(desk->pool.idle() == 1);
    REQUIRE(*desk->pool.try_acquire() == 9);
    older.give_back();
    // The hints and the memory of what was given back last are the parent's still.
    for (int i = 0; i < 100; ++i) REQUIRE(desk->pool.try_acquire());
}

TEST_CASE("fork: whoever uses a copied lease in the child has broken a contract",
          "[fork][process]") {
    const auto way = each_way();
    INFO(name_of(way));
    const auto desk = Arena<Desk>::create(unique_name("fork"));
    REQUIRE(desk->pool.add(1));
    auto lease = desk->pool.acquire();
    void (*const uses[])(Lease<int>&) = {
        [](Lease<int>& copy) { *copy = 77; },        [](Lease<int>& copy) { copy.give_back(); },
        [](Lease<int>& copy) { copy.discard(); },    [](Lease<int>& copy) { (void)copy.detach(); },
        [](Lease<int>& copy) { copy.mark_clean(); },
    };
    for (const auto use : uses) {
        REQUIRE(in_copy(way, [&] {
                    lagoon::set_contract_handler([](const char*) noexcept { ::_exit(42); });
                    use(lease);
                    return 0;
                }) == exited(42));
    }
    REQUIRE(*lease == 1);
    REQUIRE(desk->pool.leased() == 1);
}

TEST_CASE("fork: a child whose arena has ended, or has no place for it, is told so",
          "[fork][process]") {
    const auto way = each_way();
    INFO(name_of(way));
    const auto name = unique_name("fork");
    const bool full = GENERATE(false, true);
    auto desk = Arena<Desk>::create(name, {.max_processes = full ? Count{1} : Count{4}});
    REQUIRE(desk->pool.add(1));
    const Flag step;
    const pid_t pid = copy_process(way);
    if (pid == 0) {
        support::end_with([&] {
            step.wait();
            const Outcome why = full ? Outcome::not_attached : Outcome::closed;
            if (desk->pool.try_acquire().status() != why) return 1;
            if (desk->pool.acquire_for(1h).status() != why) return 2;
            if (desk->pool.acquire_or_create([] { return 2; }).status() != why) return 3;
            if (!desk->pool.acquire_n(1).empty() || desk->pool.add(3)) return 4;
            if (desk->lock.try_lock().status() != why) return 5;
            return desk->lock.try_lock_for(1h).status() == why ? 0 : 6;
        });
    }
    if (!full) desk.close();
    step.raise();
    REQUIRE(wait_for(pid) == exited(0));
}

TEST_CASE("fork: a child may take what its parent gives back, and the reverse", "[fork][process]") {
    const auto way = each_way();
    INFO(name_of(way));
    const auto desk = Arena<Desk>::create(unique_name("fork"));
    REQUIRE(desk->pool.add(1));
    desk->pool.acquire().give_back();  // this thread remembers the slot
    const Flag step;
    const pid_t pid = copy_process(way);
    if (pid == 0) {
        support::end_with([&] {
            auto lease = desk->pool.try_acquire();
            if (!lease) return 1;
            step.raise(1);
            step.wait(2);
            lease.give_back();
            step.raise(3);
            step.wait(4);
            return desk->pool.try_acquire().status() == Outcome::would_block ? 0 : 2;
        });
    }
    step.wait(1);
    REQUIRE(desk->pool.try_acquire().status() == Outcome::would_block);
    step.raise(2);
    step.wait(3);
    auto lease = desk->pool.try_acquire();
    REQUIRE(lease);
    step.raise(4);
    REQUIRE(wait_for(pid) == exited(0));
}

TEST_CASE("fork: a parent's death is noticed although its child lives", "[fork][process]") {
    const auto way = each_way();
    INFO(name_of(way));
    const auto name = unique_name("fork");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    Shared<std::atomic<pid_t>> grandchild;
    const bool attached = GENERATE(false, true);
    Child parent{[&] {
        const auto same = Arena<Desk>::open(name);
        auto lease = same->pool.acquire();
        if (!same->lock.try_lock()) return 1;
        const pid_t pid = copy_process(way);
        if (pid == 0) {
            if (attached) same->hits.add(1);
            *grandchild = ::getpid();
            for (;;) ::pause();
        }
        for (;;) ::pause();
        return 0;
    }};
    support::wait_until([&] { return *grandchild != 0; });
    REQUIRE(desk.reap() == Reaped{});
    (void)parent.kill();
    const auto reaped = desk.reap();
    REQUIRE(::kill(*grandchild, 0) == 0);
    ::kill(*grandchild, SIGKILL);
    REQUIRE(reaped.processes == 1);
    REQUIRE(reaped.leases == 1);
    REQUIRE(reaped.locks == 1);
}

TEST_CASE("fork: a child forked by a thread while others work is sound", "[fork][process]") {
    if (support::under_asan) {
        return support::skip("fork: while others work",
                             "address sanitizer's allocator may stay locked in such a child");
    }
    // Calls that skip glibc's handlers may leave malloc locked in the child of many threads.
    const auto way = Way::fork;
    INFO(name_of(way));
    const auto name = unique_name("fork");
    const auto desk = Arena<Desk>::create(name);
    for (int i = 0; i < 4; ++i) REQUIRE(desk->pool.add(i));
    std::atomic<bool> stop{false};
    std::vector<std::thread> crew;
    for (int i = 0; i < 2; ++i) {
        crew.emplace_back([&] {
            while (!stop) {
                desk->pool.acquire().give_back();
                desk->hits.add(1);
            }
        });
    }
    // Threads that begin and end claim and free lanes under the process's mutex.
    crew.emplace_back([&] {
        while (!stop) std::thread{[&] { desk->hits.add(1); }}.join();
    });
    // So do arenas that are opened and closed, whose gate a child must not keep.
    const auto other = unique_name("fork");
    crew.emplace_back([&] {
        while (!stop) Arena<Desk>::create(other, {.keeper = false}).close();
    });
    std::vector<pid_t> children;
    for (int i = 0; i < 20; ++i) {
        const pid_t pid = copy_process(way);
        if (pid == 0) {
            // Only calls that no other thread of the parent can have been inside of.
            desk->hits.add(1);
            auto lease = desk->pool.acquire();
            if (!lease) ::_exit(1);
            lease.give_back();
            ::_exit(0);
        }
        children.push_back(pid);
        if (i % 4 == 3) {
            for (const pid_t child : children) CHECK(wait_for(child) == exited(0));
            children.clear();
        }
    }
    stop = true;
    for (auto& thread : crew) thread.join();
    (void)desk.reap();
    REQUIRE(desk->pool.idle() == 4);
    REQUIRE(members_of(name) == 1);
    REQUIRE_FALSE(exists(file_of(other)));
}

TEST_CASE("fork: a child forked during another thread's first use can use the library",
          "[fork][process]") {
    const auto program =
        std::filesystem::read_symlink("/proc/self/exe").parent_path() / "lagoon_unit_first_use";
    const char* const place = GENERATE("memory", "number", "before", "after");
    INFO(place);
    REQUIRE(in_child([&] {
                ::execl(program.c_str(), program.c_str(), place, nullptr);
                return 98;
            }) == exited(0));
}

TEST_CASE("fork: a process started by posix_spawn or vfork leaves its parent alone",
          "[fork][process]") {
    const auto name = unique_name("fork");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    auto lease = desk->pool.acquire();
    REQUIRE(std::system("true") == 0);
    REQUIRE(desk.reap() == Reaped{});
    lease.give_back();
    REQUIRE(desk->pool.acquire());
    REQUIRE(members_of(name) == 1);
}

TEST_CASE("fork: Local is empty in a child", "[fork][process]") {
    const auto way = each_way();
    INFO(name_of(way));
    const auto desk = Arena<Desk>::create(unique_name("fork"));
    REQUIRE(desk->pool.add(1));
    lagoon::Local<int> local;
    int built = 0;
    const auto build = [&](const int& value) {
        ++built;
        return value;
    };
    {
        const auto lease = desk->pool.acquire();
        REQUIRE(local.get(lease, build) == 1);
        REQUIRE(local.get(lease, build) == 1);
    }
    REQUIRE(built == 1);
    REQUIRE(in_copy(way, [&] {
                const auto lease = desk->pool.acquire();
                (void)local.get(lease, build);
                return built == 2 ? 0 : 1;
            }) == exited(0));
    REQUIRE(built == 1);
}
