// host_test.cpp: what lagoon does to the process it is linked into: one thread, one descriptor per
// arena, no signal, no output, and nothing that is left after close.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "support/arenas.hpp"
#include "support/sanitizers.hpp"
#include "support/system_calls.hpp"

using lagoon::Arena;
using support::unique_name;
using namespace std::chrono_literals;

namespace {

struct Desk {
    lagoon::Counter total{"total"};
    lagoon::ShardedCounter hits{"hits"};
    lagoon::Value<double> mean{"mean"};
    lagoon::Lock lock{"lock"};
    lagoon::Pool<int> pool{"pool", {.capacity = 4}};
};

std::string read_all(const std::filesystem::path& path) {
    std::ostringstream text;
    text << std::ifstream{path, std::ios::binary}.rdbuf();
    return text.str();
}

std::string field(const std::string& status, const std::string& name) {
    std::istringstream lines{status};
    for (std::string line; std::getline(lines, line);) {
        if (line.rfind(name + ":", 0) == 0) return line.substr(name.size() + 1);
    }
    return "";
}

/// What others can see of this process, and what it could trip over.
struct Host {
    std::set<std::string> threads;
    std::map<int, std::string> descriptors;
    std::string blocked, ignored, caught, pending;
    std::string locked_memory, working_directory, name;
    mode_t umask_bits = 0;
    std::vector<std::pair<void (*)(int), int>> dispositions;
    sigset_t mask{};

    static Host now() {
        Host host;
        for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
            auto name = read_all(task.path() / "comm");
            if (!name.empty()) name.pop_back();
            host.threads.insert(task.path().filename().string() + " " + name);
        }
        std::vector<int> numbers;
        for (const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"}) {
            numbers.push_back(std::stoi(entry.path().filename()));
        }
        for (const int number : numbers) {
            std::error_code gone;
            const auto target =
                std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(number), gone);
            if (!gone) host.descriptors[number] = target.string();
        }
        const auto status = read_all("/proc/self/status");
        host.blocked = field(status, "SigBlk");
        host.ignored = field(status, "SigIgn");
        // Of 32 and 33 the C library makes use when the first thread is started, whoever does that.
        const auto caught = std::stoull(field(status, "SigCgt"), nullptr, 16);
        host.caught = std::to_string(caught & ~(std::uint64_t{3} << 31));
        host.pending = field(status, "ShdPnd");
        host.locked_memory = field(status, "VmLck");
        host.name = field(status, "Name");
        host.working_directory = std::filesystem::current_path();
        host.umask_bits = ::umask(0);
        ::umask(host.umask_bits);
        for (int signal = 1; signal <= SIGRTMAX; ++signal) {
            struct sigaction found {};
            if (::sigaction(signal, nullptr, &found) != 0) continue;
            host.dispositions.emplace_back(found.sa_handler, found.sa_flags);
        }
        return host;
    }

    /// Descriptors that `before` does not have.
    [[nodiscard]] std::vector<std::string> more_than(const Host& before) const {
        std::vector<std::string> more;
        for (const auto& [number, target] : descriptors) {
            if (before.descriptors.count(number) == 0) more.push_back(target);
        }
        return more;
    }
};

void require_same_signals(const Host& before, const Host& now) {
    REQUIRE(now.blocked == before.blocked);
    REQUIRE(now.ignored == before.ignored);
    REQUIRE(now.caught == before.caught);
    REQUIRE(now.pending == before.pending);
    REQUIRE(now.dispositions == before.dispositions);
    REQUIRE(now.locked_memory == before.locked_memory);
    REQUIRE(now.working_directory == before.working_directory);
    REQUIRE(now.umask_bits == before.umask_bits);
    REQUIRE(now.name == before.name);
}

/// In a thread that is gone when this returns. The kernel lists one for a moment behind its join.
template <class Code>
void in_thread(Code&& code) {
    std::filesystem::path task = "/proc/self/task";
    std::thread{[&] {
        task /= std::to_string(::gettid());
        code();
    }}.join();
    support::wait_until([&] { return !std::filesystem::exists(task); });
}

void use(const Arena<Desk>& desk) {
    desk->pool.add(1);
    desk->pool.acquire().give_back();
    (void)desk->pool.acquire_for(1ms);
    desk->hits.add(1);
    desk->mean.store(2);
    desk->lock.lock();
    desk->lock.unlock();
    (void)desk.reap();
}

}  // namespace

// The first of all: no process has asked for the kernel's barrier yet.
TEST_CASE("host: in a symmetric arena nobody's CPU is interrupted", "[host][process]") {
    struct Room {
        lagoon::Pool<int> any{"any", {.capacity = 2}};
        lagoon::Pool<int> large{"large", {.capacity = 200}};
        lagoon::Pool<int> queued{"queued",
                                 {.capacity = 2, .wait_order = lagoon::WaitOrder::first_come}};
    };
    const auto wait_in = [](auto& pool) {
        for (int i = 0; i < 2; ++i) pool.add(i);
        auto one = pool.acquire();
        if (pool.acquire_n_for(1ms, 2).size() != 0) return false;
        const auto two = pool.acquire();
        if (pool.acquire_for(1ms) || !pool.acquire_n_for(1ms, 1).empty()) return false;
        std::thread other{[&] { (void)pool.acquire(); }};
        support::wait_until([&] { return pool.stats().waiting == 1; });
        one.give_back();
        other.join();
        pool.close();
        return true;
    };
    const auto use = [&](lagoon::Ownership ownership, bool registered) {
        return support::in_child([&] {
            if (registered) lagoon::Arena<Desk>::create(support::unique_name("host"));
            if (!support::forbid_system_call(SYS_membarrier)) return 77;
            const auto room =
                lagoon::Arena<Room>::create(support::unique_name("host"), {.ownership = ownership});
            return wait_in(room->any) && wait_in(room->large) && wait_in(room->queued) ? 0 : 1;
        });
    };
    const auto ended = use(lagoon::Ownership::symmetric, false);
    if (ended == support::exited(77))
        return support::skip("host: membarrier", "no seccomp filters");
    CHECK(ended == support::exited(0));
    CHECK(use(lagoon::Ownership::symmetric, true) == support::exited(0));
    CHECK(use(lagoon::Ownership::unbiased, false) == support::killed_by_a_call);
}

TEST_CASE("host: one thread and one descriptor per arena, and nothing after close",
          "[host][process]") {
#ifdef LAGOON_TEST_TSAN
    return support::skip("host: one thread", "thread sanitizer starts a thread of its own");
#endif
    in_thread([] {});  // a sanitizer starts a thread of its own with the first one
    const Host before = Host::now();
    auto one = Arena<Desk>::create(unique_name("host"));
    use(one);
    const Host with_one = Host::now();
    REQUIRE(with_one.threads.size() == before.threads.size() + 1);
    for (const auto& thread : with_one.threads) {
        if (before.threads.count(thread) == 0) {
            REQUIRE(thread.find(" lagoon-keeper") != std::string::npos);
        }
    }
    REQUIRE(with_one.more_than(before).size() == 1);
    require_same_signals(before, with_one);

    auto two = Arena<Desk>::create(unique_name("host"));
    auto again = Arena<Desk>::open(std::string{two.name()});
    use(two);
    in_thread([&] { use(two); });
    const Host with_two = Host::now();
    REQUIRE(with_two.threads == with_one.threads);
    REQUIRE(with_two.more_than(before).size() == 2);
    require_same_signals(before, with_two);

    one.close();
    again.close();
    two.close();
    // A keeper that was joined is listed for a moment, too.
    support::wait_until([&] { return Host::now().threads == before.threads; });
    const Host after = Host::now();
    REQUIRE(after.descriptors == before.descriptors);
    require_same_signals(before, after);
}

TEST_CASE("host: the arena's descriptor is not handed to programs that are started",
          "[host][process]") {
    const auto arena = Arena<Desk>::create(unique_name("host"));
    for (const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"}) {
        const int number = std::stoi(entry.path().filename());
        std::error_code gone;
        const auto target = std::filesystem::read_symlink(entry.path(), gone).string();
        if (gone || target.find("lagoon.") == std::string::npos) continue;
        REQUIRE((::fcntl(number, F_GETFD) & FD_CLOEXEC) != 0);
    }
}

TEST_CASE("host: what fails leaves nothing behind, either", "[host][process]") {
    const auto name = unique_name("host");
    const auto living = Arena<Desk>::create(unique_name("host"));
    const Host before = Host::now();
    struct Other {
        lagoon::Counter other{"other"};
    };
    for (int i = 0; i < 5; ++i) {
        REQUIRE_THROWS(Arena<Desk>::create(std::string{living.name()}));
        REQUIRE_THROWS(Arena<Other>::open(std::string{living.name()}));
        REQUIRE_THROWS(Arena<Desk>::open(name));
        REQUIRE_THROWS(Arena<Desk>::create(name, {.max_processes = 0}));
        REQUIRE_THROWS(lagoon::ArenaView::open(name));
        (void)lagoon::list_arenas();
        (void)lagoon::ArenaView::open(std::string{living.name()}).processes();
    }
    const Host after = Host::now();
    REQUIRE(after.threads == before.threads);
    REQUIRE(after.descriptors == before.descriptors);
    require_same_signals(before, after);
}

TEST_CASE("host: attaching and leaving many times costs no memory mappings", "[host][process]") {
    const auto mappings = [] {
        std::istringstream lines{read_all("/proc/self/maps")};
        std::size_t count = 0;
        for (std::string line; std::getline(lines, line);) ++count;
        return count;
    };
    const auto visit = [] { Arena<Desk>::create(unique_name("host")).close(); };
    // The last 64 ranges stay reserved; beyond that nothing grows. What the allocator of a
    // sanitizer maps meanwhile is a few, one for each visit would be 200.
    for (int i = 0; i < 80; ++i) visit();
    const auto before = mappings();
    for (int i = 0; i < 200; ++i) visit();
    REQUIRE(mappings() <= before + 100);
}

TEST_CASE("host: a robust mutex of the host's own still tells of its owner's death",
          "[host][process]") {
    // Its list and the keeper's are two; arenas that come and go change neither the host's nor what
    // the kernel does with it.
    const support::Shared<pthread_mutex_t> mutexes[2];
    for (const auto& mutex : mutexes) {
        pthread_mutexattr_t attributes;
        ::pthread_mutexattr_init(&attributes);
        ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        REQUIRE(::pthread_mutex_init(&*mutex, &attributes) == 0);
        ::pthread_mutexattr_destroy(&attributes);
    }
    const support::Flag there;
    support::Child child{[&] {
        auto first = Arena<Desk>::create(unique_name("host"));
        auto second = Arena<Desk>::create(unique_name("host"));
        if (::pthread_mutex_lock(&*mutexes[0]) != 0) return 1;
        use(second);
        first.close();
        if (::pthread_mutex_lock(&*mutexes[1]) != 0) return 2;
        second.close();
        there.raise();
        for (;;) ::pause();
        return 0;
    }};
    there.wait();
    for (const auto& mutex : mutexes) REQUIRE(::pthread_mutex_trylock(&*mutex) == EBUSY);
    REQUIRE(child.kill() == support::killed_by(SIGKILL));
    for (const auto& mutex : mutexes) {
        REQUIRE(::pthread_mutex_trylock(&*mutex) == EOWNERDEAD);
        REQUIRE(::pthread_mutex_consistent(&*mutex) == 0);
        REQUIRE(::pthread_mutex_unlock(&*mutex) == 0);
    }
}

TEST_CASE("host: nothing is printed", "[host][process]") {
    const auto [ended, text] = support::output_of([] {
        auto desk = Arena<Desk>::create(unique_name("host"));
        use(desk);
        try {
            (void)Arena<Desk>::create(std::string{desk.name()});
        } catch (const lagoon::Error&) {
        }
        desk.shut_down();
        desk.close();
        return 0;
    });
    REQUIRE(ended == support::exited(0));
    REQUIRE(text.empty());
}

TEST_CASE("host: explain_faults, when asked for, takes SIGSEGV and no other signal",
          "[host][process]") {
    const auto ended = support::in_child([] {
        const Host before = Host::now();
        lagoon::explain_faults();
        const Host after = Host::now();
        int changed = 0;
        for (std::size_t i = 0; i < before.dispositions.size(); ++i) {
            if (before.dispositions[i] != after.dispositions[i]) ++changed;
        }
        return changed;
    });
    REQUIRE(ended == support::exited(1));
}

TEST_CASE("host: signals interrupt no wait, and handlers run", "[host][process]") {
    const auto ended = support::in_child([] {
        static std::atomic<int> handled;
        struct sigaction action {};
        action.sa_handler = [](int) { ++handled; };  // without SA_RESTART
        ::sigaction(SIGUSR1, &action, nullptr);
        auto desk = Arena<Desk>::create(unique_name("host"));
        desk->pool.add(1);
        auto lease = desk->pool.acquire();
        std::atomic<bool> got{false};
        std::thread waiter{[&] { got = static_cast<bool>(desk->pool.acquire()); }};
        for (int i = 0; i < 50; ++i) {
            ::pthread_kill(waiter.native_handle(), SIGUSR1);
            std::this_thread::sleep_for(1ms);
        }
        if (got) return 1;
        lease.give_back();
        waiter.join();
        return got && handled > 0 ? 0 : 2;
    });
    REQUIRE(ended == support::exited(0));
}
