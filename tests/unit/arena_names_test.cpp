// arena_names_test.cpp: how an arena gets its name, and when the name goes.
// One piece although long: the rules of names hold together, and their helpers are shared.
#include <lagoon/lagoon.hpp>

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <optional>
#include <random>
#include <runtime/arena_file.hpp>
#include <runtime/attachment.hpp>
#include <set>
#include <string>
#include <vector>

#include "support/arenas.hpp"

using lagoon::Arena;
using lagoon::ArenaOptions;
using lagoon::ArenaView;
using lagoon::Errc;
using lagoon::Lifetime;
using support::Child;
using support::code_of;
using support::exists;
using support::file_of;
using support::Flag;
using support::in_child;
using support::Shared;
using support::text_of;
using support::unique_name;
using namespace std::chrono_literals;

namespace {

struct Tally {
    lagoon::Counter total{"total"};
    lagoon::Pool<int> pool{"pool", {.capacity = 2}};
};

const ArenaOptions persistent{.lifetime = Lifetime::persistent, .directory = {}};

/// A process that is attached until it is killed.
Child member_of(const std::string& name, bool create) {
    const Flag attached;
    Child child{[&] {
        const auto arena = create ? Arena<Tally>::create(name) : Arena<Tally>::open(name);
        arena->total.add(1);
        attached.raise();
        for (;;) ::pause();
        return 0;
    }};
    attached.wait();
    return child;
}

bool is_listed(const std::string& name) {
    for (const auto& arena : lagoon::list_arenas()) {
        if (arena.name == name) return true;
    }
    return false;
}

std::uint64_t identity(const Arena<Tally>& arena) {
    return lagoon::detail::header_of(&arena.attached()).id[0];
}

}  // namespace

TEST_CASE("arena name: one that a living arena has is taken", "[arena][names]") {
    const auto name = unique_name("names");
    const auto arena = Arena<Tally>::create(name);
    REQUIRE(code_of([&] { return Arena<Tally>::create(name); }) == Errc::name_taken);
    REQUIRE(text_of([&] { return Arena<Tally>::create(name); }).find(name) != std::string::npos);
    // Nothing of the failed attempt is left.
    REQUIRE(ArenaView::open(name).processes().size() == 1);
}

TEST_CASE("arena name: what does not exist cannot be opened", "[arena][names]") {
    const auto name = unique_name("names");
    REQUIRE(code_of([&] { return Arena<Tally>::open(name); }) == Errc::no_such_arena);
    REQUIRE(code_of([&] { return ArenaView::open(name); }) == Errc::no_such_arena);
    REQUIRE(code_of([&] { return lagoon::reap(name); }) == Errc::no_such_arena);
    REQUIRE_FALSE(lagoon::remove(name));
    REQUIRE_FALSE(exists(file_of(name)));
}

TEST_CASE("arena name: of a scoped arena it goes with the last member", "[arena][names][process]") {
    const auto name = unique_name("names");
    SECTION("when that is the creator") {
        {
            const auto arena = Arena<Tally>::create(name);
            REQUIRE(exists(file_of(name)));
        }
        REQUIRE_FALSE(exists(file_of(name)));
    }
    SECTION("when that is somebody else") {
        const Flag step;
        Child other{[&] {
            auto arena = Arena<Tally>::create(name);
            step.raise(1);
            step.wait(2);
            arena.close();
            return 0;
        }};
        step.wait(1);
        auto arena = Arena<Tally>::open(name);
        step.raise(2);
        REQUIRE(other.wait() == support::exited(0));
        REQUIRE(exists(file_of(name)));
        REQUIRE(code_of([&] { return Arena<Tally>::open(name); }) == Errc{});
        arena.close();
        REQUIRE_FALSE(exists(file_of(name)));
    }
}

TEST_CASE("arena name: of a persistent arena it stays, with all that was written",
          "[arena][names]") {
    const auto name = unique_name("names");
    {
        const auto arena = Arena<Tally>::create(name, persistent);
        arena->total.add(4);
        REQUIRE(arena->pool.add(9));
    }
    REQUIRE(exists(file_of(name)));
    REQUIRE(is_listed(name));
    REQUIRE(code_of([&] { return Arena<Tally>::create(name); }) == Errc::name_taken);
    {
        const auto arena = Arena<Tally>::open_or_create(name);
        REQUIRE_FALSE(arena.created());
        REQUIRE(arena->total.load() == 4);
        REQUIRE(*arena->pool.try_acquire() == 9);
    }
    REQUIRE(ArenaView::open(name).members().size() == 2);
    REQUIRE(lagoon::reap(name) == lagoon::Reaped{});
    REQUIRE(lagoon::remove(name));
    REQUIRE_FALSE(lagoon::remove(name));
}

TEST_CASE("arena name: shut_down ends the arena for everybody", "[arena][names][process]") {
    const auto name = unique_name("names");
    const bool keep = GENERATE(false, true);
    auto arena = Arena<Tally>::create(name, keep ? persistent : ArenaOptions{});
    int destroyed = 0;
    arena.hooks(&Tally::pool, {.destroy = [&](int&) { ++destroyed; }});
    REQUIRE(arena->pool.add(1));
    REQUIRE(arena->pool.add(2));
    const Flag step;
    auto lent = arena->pool.acquire();
    auto also = arena->pool.acquire();
    Child other{[&] {
        auto same = Arena<Tally>::open(name);
        step.raise(1);
        const auto lease = same->pool.acquire();  // waits
        if (lease.status() != lagoon::Outcome::closed) return 1;
        same.close();
        return 0;
    }};
    step.wait(1);
    support::wait_until([&] { return arena->pool.stats().waiting > 0; });
    arena.shut_down();
    REQUIRE(other.wait() == support::exited(0));
    REQUIRE_FALSE(exists(file_of(name)));
    REQUIRE(code_of([&] { return Arena<Tally>::open(name); }) == Errc::no_such_arena);
    lent.give_back();
    also.give_back();
    REQUIRE(destroyed == 2);
    // The name is free for another one, while this one is still mapped.
    const auto next = Arena<Tally>::create(name);
    REQUIRE(identity(next) != identity(arena));
    REQUIRE(next->total.load() == 0);
}

TEST_CASE("arena name: shut_down with drain waits for what is lent", "[arena][names]") {
    auto arena = Arena<Tally>::create(unique_name("names"));
    REQUIRE(arena->pool.add(1));
    auto lease = arena->pool.acquire();
    std::atomic<bool> over{false};
    std::thread ender{[&] {
        arena.shut_down(lagoon::ShutDown::drain);
        over = true;
    }};
    support::wait_until([&] { return arena->pool.closed(); });
    std::this_thread::sleep_for(20ms);
    const bool early = over;
    lease.give_back();
    ender.join();
    REQUIRE_FALSE(early);
    REQUIRE(arena->pool.stats().empty == 2);
}

TEST_CASE("arena name: while shut_down waits for what is lent the name is free for another one",
          "[arena][names]") {
    const auto name = unique_name("names");
    const bool keep = GENERATE(false, true);
    auto arena = Arena<Tally>::create(name, keep ? persistent : ArenaOptions{});
    REQUIRE(arena->pool.add(1));
    auto lease = arena->pool.acquire();
    std::thread ender{[&] { arena.shut_down(lagoon::ShutDown::drain); }};
    support::wait_until([&] { return arena->pool.closed(); });
    const auto opened = code_of([&] { return Arena<Tally>::open(name); });
    std::optional<Arena<Tally>> next;
    const auto made = code_of([&] { next = Arena<Tally>::open_or_create(name); });
    lease.give_back();
    ender.join();
    REQUIRE(opened == Errc::no_such_arena);
    REQUIRE(made == Errc{});
    REQUIRE(next->created());
    REQUIRE(identity(*next) != identity(arena));
    REQUIRE(exists(file_of(name)));
}

TEST_CASE("arena name: whoever outlives a killed shut_down closes the pools",
          "[arena][names][process]") {
    const auto name = unique_name("names");
    auto arena = Arena<Tally>::create(name);
    std::thread waiter;
    auto outcome = lagoon::Outcome::ok;
    const bool asleep = GENERATE(false, true);
    if (asleep) {
        waiter = std::thread{[&] { outcome = arena->pool.acquire_for(1min).status(); }};
        support::wait_until([&] { return arena->pool.stats().waiting > 0; });
    }
    const auto end = support::in_child([&] {
        const auto same = Arena<Tally>::open(name);
        same.attached().header->state.store(1, std::memory_order_release);
        ::raise(SIGKILL);
        return 1;
    });
    if (asleep) {
        waiter.join();
        REQUIRE(outcome == lagoon::Outcome::closed);
    } else {
        (void)arena.reap();
    }
    REQUIRE(end == support::killed_by(SIGKILL));
    REQUIRE(arena->pool.closed());
    REQUIRE(arena->pool.acquire().status() == lagoon::Outcome::closed);
    REQUIRE(code_of([&] { return Arena<Tally>::create(name); }) == Errc{});
}

namespace {
struct TwoPools {
    lagoon::Pool<int> first{"first", {.capacity = 1}};
    lagoon::Pool<int> second{"second", {.capacity = 1}};
    lagoon::Value<int> value{"value"};
};
}  // namespace

TEST_CASE("arena name: shut_down with drain tells who waits for one thing and holds another",
          "[arena][names]") {
    auto arena = Arena<TwoPools>::create(unique_name("names"));
    REQUIRE(arena->first.add(1));
    REQUIRE(arena->second.add(2));
    auto second = arena->second.acquire();
    std::atomic<int> ready{0};
    std::thread waits_for_second{[&] {
        const auto first = arena->first.acquire();
        ++ready;
        REQUIRE(arena->second.acquire().status() == lagoon::Outcome::closed);
    }};
    support::wait_until([&] { return arena->second.stats().waiting > 0; });
    std::thread waits_for_value{[&] {
        const auto mine = std::move(second);
        ++ready;
        (void)arena->value.wait([](int n) { return n == 1; });
    }};
    support::wait_until([&] { return ready == 2; });
    REQUIRE(arena.shut_down(lagoon::ShutDown::drain) == lagoon::Outcome::ok);
    waits_for_second.join();
    waits_for_value.join();
}

TEST_CASE("arena name: a drain ends at its deadline or its stop token, and the arena all the same",
          "[arena][names]") {
    const auto name = unique_name("names");
    auto arena = Arena<TwoPools>::create(name);
    REQUIRE(arena->first.add(1));
    auto lease = arena->first.acquire();
    const bool stopped = GENERATE(false, true);
    if (stopped) {
        std::stop_source source;
        source.request_stop();
        REQUIRE(arena.shut_down(lagoon::ShutDown::drain, source.get_token()) ==
                lagoon::Outcome::cancelled);
    } else {
        REQUIRE(arena.shut_down_for(2ms) == lagoon::Outcome::timed_out);
    }
    REQUIRE_FALSE(exists(file_of(name)));
    lease.give_back();
    REQUIRE(arena->first.stats().empty == 1);
}

TEST_CASE("arena name: close refuses while another thread waits in the arena", "[arena][names]") {
    auto arena = Arena<TwoPools>::create(unique_name("names"));
    auto& pool = arena->first;
    std::stop_source source;
    std::thread waiter{
        [&] { REQUIRE(pool.acquire(source.get_token()).status() != lagoon::Outcome::ok); }};
    support::wait_until([&] { return pool.stats().waiting > 0; });
    REQUIRE(code_of([&] {
                arena.close();
                return 0;
            }) == Errc::busy);
    REQUIRE(arena->first.capacity() == 1);
    source.request_stop();
    waiter.join();
    arena.close();
}

TEST_CASE("arena name: a scoped arena whose members are dead is gone for everybody",
          "[arena][names][process]") {
    const auto name = unique_name("names");
    (void)member_of(name, true).kill();
    REQUIRE(exists(file_of(name)));
    SECTION("open") {
        REQUIRE(code_of([&] { return Arena<Tally>::open(name); }) == Errc::no_such_arena);
    }
    SECTION("view") {
        REQUIRE(code_of([&] { return ArenaView::open(name); }) == Errc::no_such_arena);
    }
    SECTION("writable view") {
        REQUIRE(code_of([&] { return ArenaView::open(name, {.writable = true}); }) ==
                Errc::no_such_arena);
    }
    SECTION("reap") {
        (void)code_of([&] { return lagoon::reap(name); });
    }
    SECTION("list") { REQUIRE_FALSE(is_listed(name)); }
    SECTION("remove") { REQUIRE(lagoon::remove(name)); }
    SECTION("create") { REQUIRE(Arena<Tally>::create(name)->total.load() == 0); }
    SECTION("open_or_create") {
        const auto arena = Arena<Tally>::open_or_create(name);
        REQUIRE(arena.created());
        REQUIRE(arena->total.load() == 0);
    }
    REQUIRE_FALSE(exists(file_of(name)));
}

TEST_CASE("arena name: with one living member an arena is never stale, whoever made it",
          "[arena][names][process]") {
    const auto name = unique_name("names");
    auto creator = member_of(name, true);
    auto other = member_of(name, false);
    (void)creator.kill();
    REQUIRE(code_of([&] { return Arena<Tally>::create(name); }) == Errc::name_taken);
    REQUIRE(is_listed(name));
    {
        const auto arena = Arena<Tally>::open(name);
        REQUIRE(arena->total.load() == 2);
    }
    (void)lagoon::reap(name);
    REQUIRE(exists(file_of(name)));
    (void)other.kill();
    REQUIRE(code_of([&] { return Arena<Tally>::open(name); }) == Errc::no_such_arena);
}

TEST_CASE("arena name: a held lock is life, whatever boot the file says it is of",
          "[arena][names]") {
    const auto name = unique_name("names");
    auto arena = Arena<Tally>::create(name);
    auto header = lagoon::detail::header_of(&arena.attached()).boot_id;
    header[0] ^= 1;
    support::patch(file_of(name), offsetof(lagoon::detail::ArenaHeader, boot_id), &header,
                   sizeof header);
    auto* base =
        const_cast<lagoon::detail::ArenaHeader*>(&lagoon::detail::header_of(&arena.attached()));
    base->checksum = lagoon::detail::checksum_of(
        *base, reinterpret_cast<const lagoon::detail::DirectoryEntry*>(
                   reinterpret_cast<const char*>(base) + base->directory_offset));
    // A container may see a boot id of its own; the kernel's lock says who lives.
    REQUIRE(is_listed(name));
    REQUIRE(code_of([&] { return Arena<Tally>::create(name); }) == Errc::name_taken);
    arena.close();
    REQUIRE_FALSE(is_listed(name));
}

TEST_CASE("arena name: remove takes it from under the living, who go on", "[arena][names]") {
    const auto name = unique_name("names");
    const auto old = Arena<Tally>::create(name);
    REQUIRE(lagoon::remove(name.c_str()));
    REQUIRE_FALSE(exists(file_of(name)));
    old->total.add(1);
    REQUIRE(old->pool.add(3));
    REQUIRE(code_of([&] { return Arena<Tally>::open(name); }) == Errc::no_such_arena);
    auto young = Arena<Tally>::create(name);
    REQUIRE(young->total.load() == 0);
    REQUIRE(identity(young) != identity(old));
    REQUIRE(Arena<Tally>::open(name)->total.load() == 0);
    // The old one's end does not take the young one's name.
    auto leaving = old;
    leaving = {};
    REQUIRE(exists(file_of(name)));
}

TEST_CASE("arena name: the old arena's last member leaves the new one's name alone",
          "[arena][names]") {
    const auto name = unique_name("names");
    auto old = Arena<Tally>::create(name);
    REQUIRE(lagoon::remove(name));
    const auto young = Arena<Tally>::create(name);
    old.close();
    REQUIRE(exists(file_of(name)));
    REQUIRE(code_of([&] { return Arena<Tally>::open(name); }) == Errc{});
}

TEST_CASE("arena name: the file has the mode that was asked for, whatever the umask",
          "[arena][names]") {
    const auto mode_of = [](const std::string& name) {
        struct stat found {};
        return ::stat(file_of(name).c_str(), &found) == 0 ? found.st_mode & 07777 : 0;
    };
    const auto before = ::umask(0077);
    const auto open_to_all = unique_name("names");
    const auto first = Arena<Tally>::create(open_to_all, {.mode = 0666});
    ::umask(0);
    const auto ours = unique_name("names");
    const auto second = Arena<Tally>::create(ours);
    ::umask(before);
    REQUIRE(mode_of(open_to_all) == 0666);
    REQUIRE(mode_of(ours) == 0600);
}

TEST_CASE("arena name: a relative directory stays where it was, wherever the process goes",
          "[arena][names][process]") {
    const auto name = unique_name("names");
    const auto sub = unique_name("directory");
    const auto path = support::arena_directory() + "/" + sub;
    REQUIRE(::mkdir(path.c_str(), 0700) == 0);
    const bool by_option = GENERATE(false, true);
    const auto end = support::in_child([&] {
        if (::chdir(support::arena_directory().c_str()) != 0) return 1;
        ArenaOptions options;
        if (by_option) options.directory = sub;
        if (!by_option && ::setenv("LAGOON_DIR", sub.c_str(), 1) != 0) return 2;
        auto arena = Arena<Tally>::create(name, options);
        if (::chdir("/") != 0 || !exists(path + "/lagoon." + name)) return 3;
        if (support::in_child([&] {
                arena->total.add(1);
                return arena->pool.add(1) ? 0 : 1;
            }) != support::exited(0)) {
            return 4;
        }
        arena.close();
        return 0;
    });
    const bool empty = std::filesystem::is_empty(path);
    std::filesystem::remove_all(path);
    REQUIRE(end == support::exited(0));
    REQUIRE(empty);
}

TEST_CASE("arena name: the directory is an option, and goes before LAGOON_DIR", "[arena][names]") {
    const auto directory = support::arena_directory() + "/" + unique_name("directory");
    REQUIRE(::mkdir(directory.c_str(), 0700) == 0);
    const auto name = unique_name("names");
    {
        const auto arena = Arena<Tally>::create(name, {.directory = directory});
        REQUIRE(exists(directory + "/lagoon." + name));
        REQUIRE(code_of([&] { return Arena<Tally>::open(name); }) == Errc::no_such_arena);
        lagoon::OpenOptions options;
        options.directory = directory;
        REQUIRE(Arena<Tally>::open(name, options).name() == name);
        REQUIRE(lagoon::list_arenas(directory).size() == 1);
        REQUIRE(lagoon::reap(name, options) == lagoon::Reaped{});
        REQUIRE(ArenaView::open(name, {.directory = directory}).name() == name);
        REQUIRE(lagoon::remove(name, options));
    }
    REQUIRE(std::filesystem::is_empty(directory));
}

TEST_CASE("arena name: of many who open_or_create at once, one creates",
          "[arena][names][process]") {
    constexpr int racers = 12;
    for (int round = 0; round < 8; ++round) {
        const auto name = unique_name("names");
        const Flag go;
        Shared<std::atomic<int>> ready;
        Shared<std::atomic<int>> created;
        Shared<std::atomic<std::uint64_t>> ids[racers];
        std::vector<Child> children;
        for (int i = 0; i < racers; ++i) {
            children.emplace_back([&] {
                ready->fetch_add(1);
                go.wait(1);
                const auto arena = Arena<Tally>::open_or_create(name);
                if (arena.created()) created->fetch_add(1);
                arena->total.add(1);
                *ids[i] = identity(arena);
                ready->fetch_add(1);
                go.wait(2);  // all of them attached at one time
                return 0;
            });
        }
        support::wait_until([&] { return *ready == racers; });
        go.raise(1);
        support::wait_until([&] { return *ready == 2 * racers; });
        REQUIRE(Arena<Tally>::open(name)->total.load() == racers);
        go.raise(2);
        for (auto& child : children) REQUIRE(child.wait() == support::exited(0));
        REQUIRE(*created == 1);
        std::set<std::uint64_t> different;
        for (const auto& id : ids) different.insert(*id);
        REQUIRE(different.size() == 1);
        (void)is_listed(name);
        REQUIRE_FALSE(exists(file_of(name)));
    }
}

TEST_CASE("arena name: it never leads to two living arenas", "[arena][names][process]") {
    // Everybody writes into the shared table which arena the name led to while they were attached.
    // Two different ones at the same time, without anybody having removed the name, are a split
    // brain. Some are killed on the way.
    constexpr unsigned players = 6;
    struct Table {
        std::atomic<std::uint64_t> rounds;
        std::atomic<std::uint64_t> created;
        std::atomic<std::uint64_t> splits;
        std::atomic<std::uint64_t> errors;
        std::atomic<bool> stop;
    };
    const auto name = unique_name("names");
    Shared<Table> table;
    const auto play = [&] {
        std::minstd_rand random{static_cast<unsigned>(::getpid())};
        while (!table->stop) {
            // Apart for long enough that nobody is left now and then.
            std::this_thread::sleep_for(std::chrono::microseconds{random() % 6000});
            try {
                const auto arena = Arena<Tally>::open_or_create(name);
                if (arena.created()) ++table->created;
                // We are a living member of it, so until we leave nobody else's attempt may lead
                // to another file.
                const auto ours = arena.attached().file;
                for (int look = 0; look < 3; ++look) {
                    arena->total.add(1);
                    if (lagoon::os::file_at(file_of(name)) != ours) ++table->splits;
                }
                if (random() % 4 == 0 &&
                    code_of([&] { return Arena<Tally>::create(name); }) != Errc::name_taken) {
                    ++table->splits;
                }
                ++table->rounds;
            } catch (const std::exception& error) {
                std::fprintf(stderr, "player: %s\n", error.what());
                ++table->errors;
            }
        }
        return 0;
    };
    std::vector<Child> children;
    for (unsigned i = 0; i < players; ++i) children.emplace_back(play);
    std::uint64_t kills = 0;
    const auto end = std::chrono::steady_clock::now() + 2500ms;
    while (std::chrono::steady_clock::now() < end) {
        std::this_thread::sleep_for(10ms);
        auto& victim = children[kills % players];
        REQUIRE(victim.kill() == support::killed_by(SIGKILL));
        victim = Child{play};
        ++kills;
    }
    table->stop = true;
    for (auto& child : children) REQUIRE(child.wait() == support::exited(0));
    std::printf("names: %llu rounds, %llu arenas made, %llu kills\n",
                static_cast<unsigned long long>(table->rounds),
                static_cast<unsigned long long>(table->created),
                static_cast<unsigned long long>(kills));
    REQUIRE(table->splits == 0);
    REQUIRE(table->errors == 0);
    REQUIRE(table->created > 1);
    (void)is_listed(name);
    REQUIRE_FALSE(exists(file_of(name)));
}
