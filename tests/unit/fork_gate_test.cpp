// fork_gate_test.cpp: the gate of an arena's file, while processes fork.
#include <lagoon/lagoon.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <optional>
#include <runtime/arena_file.hpp>
#include <thread>
#include <vector>

#include "support/copies.hpp"

using lagoon::Arena;
using support::Child;
using support::code_of;
using support::exited;
using support::file_of;
using support::Shared;
using support::unique_name;
using namespace std::chrono_literals;
using namespace support::copies;

TEST_CASE("fork: a child forked while an arena's gate is held does not keep it",
          "[fork][process]") {
    const auto name = unique_name("fork");
    std::atomic<bool> stop{false};
    std::thread opener{[&] {
        while (!stop) Arena<Desk>::create(name, {.keeper = false}).close();
    }};
    std::vector<pid_t> children;
    for (int i = 0; i < 200; ++i) {
        const pid_t pid = copy_process(Way::fork);
        if (pid == 0) {
            for (;;) ::pause();
        }
        children.push_back(pid);
    }
    stop = true;
    opener.join();
    // With a gate that a sleeping child holds this would fail after ten seconds.
    const auto code = code_of([&] {
        Arena<Desk>::create(name).close();
        return 0;
    });
    for (const pid_t child : children) {
        ::kill(child, SIGKILL);
        (void)wait_for(child);
    }
    REQUIRE(code == lagoon::Errc{});
}

TEST_CASE("fork: a gate is free when its holder is killed, though another thread has forked",
          "[fork][process]") {
    const auto name = unique_name("fork");
    const auto desk = Arena<Desk>::create(name);
    const auto kind = GENERATE(lagoon::os::LockKind::shared, lagoon::os::LockKind::exclusive);
    Shared<std::atomic<pid_t>> grandchild;
    Child holder{[&] {
        const lagoon::os::Fd fd{::open(file_of(name).c_str(), O_RDWR | O_CLOEXEC)};
        const lagoon::detail::Gate gate{fd.get(), kind, name};
        std::thread{[&] {
            if (copy_process(Way::fork) != 0) return;
            *grandchild = ::getpid();
            for (;;) ::pause();
        }}.join();
        for (;;) ::pause();
        return 0;
    }};
    support::wait_until([&] { return *grandchild != 0; });
    const lagoon::os::Fd fd{::open(file_of(name).c_str(), O_RDWR | O_CLOEXEC)};
    const auto locked = [&] {
        return lagoon::os::is_byte_locked(fd.get(), lagoon::detail::gate_byte);
    };
    const auto before = locked();
    (void)holder.kill();
    const auto after = locked();
    ::kill(*grandchild, SIGKILL);
    REQUIRE(before == lagoon::os::Answer::yes);
    REQUIRE(after == lagoon::os::Answer::no);
}

TEST_CASE("fork: a gate's number that came to be another file's stays open", "[fork][process]") {
    const auto name = unique_name("fork");
    const auto desk = Arena<Desk>::create(name);
    const lagoon::os::Fd fd{::open(file_of(name).c_str(), O_RDWR | O_CLOEXEC)};
    const lagoon::os::Fd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
    const int number = ::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0);  // the gate gets it
    ::close(number);
    std::optional<lagoon::detail::Gate> gate{std::in_place, fd.get(), lagoon::os::LockKind::shared,
                                             name};
    REQUIRE(lagoon::os::file_of(number) == lagoon::os::file_of(fd.get()));
    const auto is_open = [&] { return ::fcntl(number, F_GETFD) >= 0; };
    SECTION("by the host of the parent") {
        REQUIRE(::dup2(null.get(), number) == number);
        REQUIRE(in_copy(Way::fork, [&] { return is_open() ? 0 : 1; }) == exited(0));
        gate.reset();
        REQUIRE(is_open());
        ::close(number);
    }
    SECTION("by that of the child") {
        const auto way = each_way();
        REQUIRE(in_copy(way, [&] {
                    // The same file: only who opened it is another.
                    if (is_open() != (way != Way::fork)) return 1;
                    if (::dup2(fd.get(), number) != number) return 2;
                    desk->hits.add(1);
                    if (in_copy(Way::fork, [&] { return is_open() ? 0 : 1; }) != exited(0)) {
                        return 3;
                    }
                    gate.reset();
                    return is_open() ? 0 : 4;
                }) == exited(0));
    }
}

TEST_CASE("fork: a child's first call waits for a gate that is held, and does not give up",
          "[fork][process]") {
    const auto name = unique_name("fork");
    const auto desk = Arena<Desk>::create(name);
    const lagoon::os::Fd fd{::open(file_of(name).c_str(), O_RDWR | O_CLOEXEC)};
    std::optional<lagoon::detail::Gate> gate{std::in_place, fd.get(),
                                             lagoon::os::LockKind::exclusive, name};
    Child locks{[&] {
        desk->lock.lock();
        return 3;
    }};
    Child counts{[&] {
        desk->hits.add(2);
        return 4;
    }};
    // Longer than an opener waits; or until one has given up.
    const auto end = std::chrono::steady_clock::now() + 11s;
    const auto have_ended = [&](const Child& child) {
        siginfo_t info{};
        return ::waitid(P_PID, static_cast<id_t>(child.pid()), &info,
                        WEXITED | WNOHANG | WNOWAIT) == 0 &&
               info.si_pid != 0;
    };
    bool early = false;
    support::wait_until([&] {
        early = have_ended(locks) || have_ended(counts);
        return early || std::chrono::steady_clock::now() > end;
    });
    gate.reset();
    REQUIRE_FALSE(early);
    REQUIRE(locks.wait() == exited(3));
    REQUIRE(counts.wait() == exited(4));
    REQUIRE(desk->hits.load() == 2);
    REQUIRE(desk.reap().locks == 1);
}
