// namespaces_test.cpp: two containers and one arena: PID namespaces whose processes have equal
// PIDs, and a user who may do nothing.
#include <lagoon/lagoon.hpp>

#include <grp.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <string>

#include "support/arenas.hpp"
#include "support/sandbox.hpp"

using lagoon::Arena;
using lagoon::ArenaView;
using lagoon::Lease;
using lagoon::Reaped;
using support::as_nobody;
using support::Child;
using support::exists;
using support::exited;
using support::file_of;
using support::Flag;
using support::not_allowed;
using support::OpenDirectory;
using support::Shared;
using support::unique_name;
using namespace std::chrono_literals;

namespace {

struct Desk {
    lagoon::Counter total{"total"};
    lagoon::Lock lock{"lock"};
    lagoon::Pool<int> pool{"pool", {.capacity = 4}};
};

/// Runs `body` as process 1 of a PID namespace of its own.
template <class Body>
Child in_namespace(Body&& body) {
    return Child{[&] {
        if (::unshare(CLONE_NEWPID) != 0 && !support::own_mounts(CLONE_NEWPID)) return not_allowed;
        Child first{[&] { return ::getpid() == 1 ? body() : 98; }};
        const auto ended = first.wait();
        return ended.signal != 0 ? 128 + ended.signal : ended.code;
    }};
}

}  // namespace

TEST_CASE("namespaces: processes of one PID in two of them are two members",
          "[namespaces][process]") {
    const auto name = unique_name("pids");
    const Flag step;
    const Flag other_step;
    Shared<std::atomic<int>> verdict;
    Child first = in_namespace([&] {
        const auto desk = Arena<Desk>::create(name);
        desk->pool.add(1);
        desk->pool.add(2);
        const auto lease = desk->pool.acquire();
        if (!desk->lock.try_lock()) return 1;
        step.raise(1);
        for (;;) ::pause();
        return 0;
    });
    support::wait_until([&] { return step.step() == 1 || ::kill(first.pid(), 0) != 0; });
    const auto view = [&] { return ArenaView::open(name).processes(); };
    REQUIRE(view().size() == 1);
    REQUIRE(view()[0].pid == 1);
    REQUIRE(view()[0].alive);
    Child second = in_namespace([&] {
        const auto desk = Arena<Desk>::open(name);
        const auto lease = desk->pool.acquire();
        if (!lease) return 1;
        // The other process 1 is alive, though none of our PIDs is its.
        if (desk.reap() != Reaped{}) return 2;
        if (desk->lock.try_lock_for(100ms)) return 3;
        step.raise(2);
        other_step.wait(1);
        // Its death is noticed from here, by who waits.
        if (!desk->lock.lock().owner_died()) return 4;
        const auto recovered = desk->pool.acquire();
        return recovered && recovered.recovered() ? 0 : 5;
    });
    step.wait(2);
    REQUIRE(view().size() == 2);
    REQUIRE(view()[1].pid == 1);
    other_step.raise(1);
    std::this_thread::sleep_for(10ms);
    (void)first.kill();  // its process 1 dies with it
    REQUIRE(second.wait() == exited(0));
    support::wait_until([&] {
        try {
            (void)ArenaView::open(name);
            return false;
        } catch (const lagoon::Error&) {
            return true;
        }
    });
    REQUIRE_FALSE(exists(file_of(name)));
}

TEST_CASE("namespaces: a user without rights makes, opens and leaves arenas",
          "[namespaces][process]") {
    if (::geteuid() != 0) return support::skip("as nobody", "needs to be root to become nobody");
    const OpenDirectory open;
    const auto name = unique_name("nobody");
    const Flag step;
    const auto make = [&] {
        return as_nobody([&] {
            const auto desk = Arena<Desk>::create(name);
            desk->pool.add(1);
            const auto lease = desk->pool.acquire();
            step.raise(1);
            for (;;) ::pause();
            return 0;
        });
    };
    const auto use = [&] {
        return as_nobody([&] {
            auto desk = Arena<Desk>::open(name);
            if (desk.reap() != Reaped{}) return 1;
            step.raise(2);
            if (!desk->pool.acquire().recovered()) return 2;
            desk.close();
            return exists(file_of(name)) ? 3 : 0;
        });
    };
    const bool namespaces = GENERATE(false, true);
    Child first = namespaces ? in_namespace(make) : Child{make};
    step.wait(1);
    Child second = namespaces ? in_namespace(use) : Child{use};
    step.wait(2);
    std::this_thread::sleep_for(10ms);
    (void)first.kill();
    REQUIRE(second.wait() == exited(0));
}

TEST_CASE("namespaces: a user namespace's root shares arenas within it", "[namespaces][process]") {
    const auto name = unique_name("users");
    const auto ended = support::in_child([&] {
        if (::unshare(CLONE_NEWUSER) != 0) return not_allowed;
        auto desk = Arena<Desk>::create(name, {.directory = "/dev/shm"});
        desk->pool.add(1);
        desk->pool.acquire().give_back();
        desk.close();
        return exists("/dev/shm/lagoon." + name) ? 1 : 0;
    });
    if (ended == exited(not_allowed)) return support::skip("a user namespace", "none to be had");
    REQUIRE(ended == exited(0));
}
