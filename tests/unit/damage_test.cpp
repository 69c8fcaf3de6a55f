// damage_test.cpp: words of an arena that something else has written. Each case is one that the
// fuzzers of tests/fuzz found, built by hand.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

#include "runtime/arena_file.hpp"
#include "runtime/attachment.hpp"
#include "runtime/pool_body.hpp"
#include "support/arenas.hpp"

using namespace std::chrono_literals;
using lagoon::Arena;
using lagoon::ArenaView;
using lagoon::Errc;
using lagoon::Outcome;
using support::Child;
using support::code_of;
using support::file_of;
using support::Flag;
using support::unique_name;
namespace detail = lagoon::detail;

namespace {

struct Three {
    char bytes[3];
};
struct Desk {
    lagoon::Value<Three> odd{"odd"};
    lagoon::Value<lagoon::String<20>> note{"note"};
    lagoon::Lock lock{"lock"};
    lagoon::Pool<int> few{"few", {.capacity = 3}};
    lagoon::Pool<int> many{"many", {.capacity = 200}};
};

struct Line {
    lagoon::Pool<int> queued{"queued",
                             {.capacity = 1, .wait_order = lagoon::WaitOrder::first_come}};
};

constexpr std::uint32_t no_such_lane = 1000;  // more than any arena here has

detail::Attachment& attachment_of(const Arena<Desk>& desk) {
    return *detail::attachment_of(&*desk);
}
std::uint32_t my_lane(const Arena<Desk>& desk) { return detail::lane_of(&*desk).lane; }

void write_word(void* at, std::uint64_t word) { std::memcpy(at, &word, sizeof word); }

template <class T>
detail::PoolBody& body_of(lagoon::Pool<T>& pool) {
    return detail::body_of(reinterpret_cast<detail::PoolObject&>(pool));
}

/// Lanes that nobody has: past the last, and one that is free.
std::vector<std::uint32_t> nobodys_lanes(const Arena<Desk>& desk) {
    return {no_such_lane, attachment_of(desk).header->max_lanes - 1};
}

}  // namespace

TEST_CASE("damage: a wide value claimed in the name of nobody is written all the same",
          "[damage]") {
    const auto desk = Arena<Desk>::create(unique_name("claim"));
    for (const std::uint32_t lane : nobodys_lanes(desk)) {
        write_word(&desk->note, detail::selector::claimed(0, lane));
        desk->note.store(lagoon::String<20>{"written"});
        CHECK(desk->note.load() == "written");
    }
    write_word(&desk->note, detail::selector::claimed(0, my_lane(desk)));
    desk->note.store(lagoon::String<20>{"mine"});
    CHECK(desk->note.load() == "mine");
}

TEST_CASE("damage: a dead writer of a value of three bytes holds up nobody", "[damage][process]") {
    const auto name = unique_name("three");
    const auto desk = Arena<Desk>::create(name);
    const Flag claimed;
    Child writer{[&] {
        auto same = Arena<Desk>::open(name);
        (void)same->odd.update([&](const Three& old) {
            claimed.raise();
            for (;;) ::pause();
            return old;
        });
        return 0;
    }};
    claimed.wait();
    (void)writer.kill();
    support::wait_until([&] { return desk.reap().processes == 1; });
    desk->odd.store({{1, 2, 3}});
    CHECK(desk->odd.load().bytes[2] == 3);
}

TEST_CASE("damage: a change of a value that changes the same value is a broken contract",
          "[damage][process]") {
    const auto desk = Arena<Desk>::create(unique_name("itself"));
    REQUIRE(support::in_child([&] {
                lagoon::set_contract_handler([](const char*) noexcept {});
                (void)desk->note.update([&](const auto& old) {
                    desk->note.store(old);
                    return old;
                });
                return 0;
            }) == support::killed_by(SIGABRT));
}

TEST_CASE("damage: a lock that is locked in the name of nobody is taken as from the dead",
          "[damage]") {
    const auto desk = Arena<Desk>::create(unique_name("lock"));
    for (const std::uint32_t lane : nobodys_lanes(desk)) {
        write_word(&desk->lock, lane | 1U << 10);
        CHECK_FALSE(desk->lock.try_lock());
        const auto locked = desk->lock.lock();
        REQUIRE(locked);
        CHECK(locked.owner_died());
        desk->lock.mark_clean();
        desk->lock.unlock();
    }
}

TEST_CASE("damage: reap takes slots and locks back that are nobody's", "[damage]") {
    const auto desk = Arena<Desk>::create(unique_name("orphan"));
    REQUIRE(desk->few.add(1));
    CHECK(desk.reap() == lagoon::Reaped{});
    for (const std::uint32_t lane : nobodys_lanes(desk)) {
        write_word(&desk->lock, lane | 1U << 10);
        write_word(&detail::slot_of(body_of(desk->few), 0),
                   detail::word::owned_by(detail::SlotState::held, lane));
        CHECK_FALSE(desk->few.try_acquire());
        const auto done = desk.reap();
        CHECK(done.locks == 1);
        CHECK(done.leases == 1);
        CHECK_FALSE(desk->lock.is_locked());
        CHECK(desk->few.try_acquire().recovered());
    }
}

TEST_CASE("damage: a lease whose slot was changed under it ends without harm, and is counted",
          "[damage]") {
    const auto ownership = GENERATE(lagoon::Ownership::automatic, lagoon::Ownership::symmetric);
    const auto desk = Arena<Desk>::create(unique_name("lease"), {.ownership = ownership});
    REQUIRE(desk->few.add(1));
    auto& slot = detail::slot_of(body_of(desk->few), 0);
    const auto change = [&] {
        auto lease = desk->few.try_acquire();
        REQUIRE(lease);
        write_word(&slot, detail::word::owned_by(detail::SlotState::held, no_such_lane));
        return lease;
    };
    {
        auto lease = change();
        CHECK(code_of([&] { lease.discard(); }) == Errc::corrupt);
    }
    CHECK(desk.reap().leases == 1);
    {
        auto lease = change();
        CHECK(code_of([&] { return lease.detach(); }) == Errc::corrupt);
    }
    CHECK(desk.reap().leases == 1);
    CHECK(desk->few.stats().damaged == 2);
    {
        auto lease = change();
        lease.mark_clean();
        CHECK(desk->few.stats().damaged == 3);
        std::thread{[&] { lease.give_back(); }}.join();
    }
    CHECK(desk->few.stats().damaged == 4);
}

TEST_CASE("damage: a slot that is changed while it is filled makes the filling fail", "[damage]") {
    const auto desk = Arena<Desk>::create(unique_name("filling"));
    auto& slot = detail::slot_of(body_of(desk->few), 0);
    const auto build = [&] {
        return desk->few.try_acquire_or_create([&] {
            write_word(&slot, 0);
            return 1;
        });
    };
    CHECK(code_of(build) == Errc::corrupt);
    CHECK(desk->few.stats().damaged >= 1);
    CHECK(desk->few.add(2));
}

TEST_CASE("damage: hint bits past the last slot lead nowhere", "[damage]") {
    const auto desk = Arena<Desk>::create(unique_name("hints"));
    REQUIRE(desk->many.add(1));
    auto& body = body_of(desk->many);
    REQUIRE(body.hint_words == 5);  // four leaves and their summary
    auto* words = reinterpret_cast<std::byte*>(&body) + body.hints_at;
    for (std::uint64_t i = 0; i < 3 * body.hint_words; ++i) write_word(words + 8 * i, ~0ULL);
    auto lease = desk->many.acquire_for(1ms);
    CHECK(lease);
    CHECK(desk->many.acquire_for(1ms).status() == Outcome::timed_out);
}

TEST_CASE("damage: a summary's bit past the last leaf is not followed out of the tree",
          "[damage]") {
    constexpr std::uint64_t slots = 4200;  // 66 leaves, 2 words above them, 1 above those
    const std::uint64_t bytes = detail::HintTree::words_for(slots) * sizeof(std::uint64_t);
    REQUIRE(bytes == (66 + 2 + 1) * 8);
    // The tree ends where a page ends, and the next one cannot be read.
    void* pages = ::mmap(nullptr, 2 * detail::page_bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(pages != MAP_FAILED);
    auto* end = static_cast<std::byte*>(pages) + detail::page_bytes;
    REQUIRE(::mprotect(end, detail::page_bytes, PROT_NONE) == 0);
    auto* words = reinterpret_cast<detail::Atomic<std::uint64_t>*>(end - bytes);
    write_word(&words[66 + 1], std::uint64_t{1} << 63);
    detail::HintTree tree{words, slots};
    CHECK(tree.next_leaf(0) == detail::no_index);
    ::munmap(pages, 2 * detail::page_bytes);
}

TEST_CASE("damage: demand that nobody has does not last", "[damage]") {
    const auto desk = Arena<Desk>::create(unique_name("demand"));
    auto& body = body_of(desk->few);
    // The closing's mark and that of who gathers several are left as they are.
    write_word(&body.demand, std::uint64_t{0xffff'ffff'3fff'ffff});
    REQUIRE(desk->few.add(1));
    CHECK(!lagoon::detail::is_demanded(body.demand.load(std::memory_order_relaxed)));
    // Where waiters have a queue no wake-up hides anything.
    const auto line = Arena<Line>::create(unique_name("demand"));
    auto& queued = body_of(line->queued);
    write_word(&queued.demand, std::uint64_t{0x3fff'ffff});
    REQUIRE(line->queued.add(1));
    CHECK(!lagoon::detail::is_demanded(queued.demand.load(std::memory_order_relaxed)));
}

TEST_CASE("damage: parts of a file that lie in each other are refused", "[damage]") {
    const auto name = unique_name("parts");
    std::string sound;
    {
        const auto desk =
            Arena<Desk>::create(name, {.lifetime = lagoon::Lifetime::persistent, .keeper = false});
        std::ifstream file{file_of(name), std::ios::binary};
        sound.assign(std::istreambuf_iterator<char>{file}, {});
    }
    using Header = detail::ArenaHeader;
    const auto refused = [&](auto&& change) {
        std::string bytes = sound;
        auto& header = *reinterpret_cast<Header*>(bytes.data());
        auto* entries = reinterpret_cast<detail::DirectoryEntry*>(&bytes[header.directory_offset]);
        change(header, entries);
        header.checksum = detail::checksum_of(header, entries);
        std::ofstream{file_of(name), std::ios::binary} << bytes;
        return code_of([&] { return ArenaView::open(name); });
    };
    CHECK(refused([](Header&, auto*) {}) == Errc{});
    CHECK(refused([](Header& h, auto*) { h.members_offset = 0; }) == Errc::corrupt);
    CHECK(refused([](Header& h, auto*) { h.lanes_offset = h.members_offset; }) == Errc::corrupt);
    CHECK(refused([](Header& h, auto*) { h.max_members += 1; }) == Errc::corrupt);
    CHECK(refused([](Header& h, auto*) { h.storage_offset = h.root_offset; }) == Errc::corrupt);
    CHECK(refused([](Header&, auto* e) { e[1].object_offset = e[0].object_offset; }) ==
          Errc::corrupt);
    lagoon::remove(std::string_view{name});
}
