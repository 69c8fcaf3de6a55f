// arena_struct_test.cpp: what a struct may be, what its constructors may do, and how two programs
// that disagree about it are told apart.
// One piece although long: it follows the header, sentence by sentence.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>
#include <string>
#include <type_traits>
#include <vector>

#include "support/arenas.hpp"

using lagoon::Arena;
using lagoon::ArenaView;
using lagoon::Errc;
using support::code_of;
using support::error_of;
using support::exists;
using support::file_of;
using support::text_of;
using support::unique_name;

namespace {

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

/// A member whose name is chosen when the test runs.
struct Named {
    explicit Named(const std::string& name) : one{name.c_str()} {}
    lagoon::Counter one;
};

struct Twins {
    lagoon::Counter one{"same"};
    lagoon::Array<int> two{"same", 3};
};

struct Stray {
    Stray() { const lagoon::Counter outside{"outside"}; }
    lagoon::Counter one{"one"};
};

struct alignas(64) Gap {
    lagoon::Counter one{"one"};
    std::int64_t plain[8] = {};
    lagoon::Counter two{"two"};
};
struct GapAtEnd {
    lagoon::Counter one{"one"};
    int plain = 0;
};
struct GroupGap {
    lagoon::Group<GapAtEnd> group{"group"};
};

int& runs() {
    static int count = 0;
    return count;
}
struct Growing {
    Growing() : numbers{"numbers", ++runs()} {}
    lagoon::Array<int> numbers;
};
struct Shrinking {
    Shrinking() : numbers{"numbers", 5000 - ++runs()} {}
    lagoon::Array<int> numbers;
};
struct Renamed {
    Renamed() : one{++runs() % 2 == 0 ? "even" : "odd"} {}
    lagoon::Counter one;
};
struct Throwing {
    Throwing() { throw std::runtime_error{"no struct today"}; }
};
struct Counted {
    Counted() { ++runs(); }
    lagoon::Counter one{"one"};
};

/// What on_create sees and does is the test's business.
struct Prepared {
    inline static std::string name;  // NOLINT: a test's own
    inline static bool throws = false;
    inline static int times = 0;
    inline static bool findable = false;
    inline static bool attached = false;
    void on_create() {
        ++times;
        findable = exists(file_of(name));
        attached = pool.try_acquire().status() == lagoon::Outcome::would_block &&
                   lagoon::detail::attachment_of(this) != nullptr;
        pool.add(7);
        total.add(1);
        if (throws) throw std::runtime_error{"not today"};
    }
    lagoon::Counter total{"total"};
    lagoon::Pool<int> pool{"pool", {.capacity = 2}};
};

}  // namespace

TEST_CASE("arena struct: a member constructed in no struct is an error that names it",
          "[arena][struct]") {
    REQUIRE(code_of([] {
                lagoon::Counter lost{"lost"};
                return 0;
            }) == Errc::bad_layout);
    REQUIRE(contains(text_of([] {
                         lagoon::Counter lost{"lost"};
                         return 0;
                     }),
                     "'lost'"));
    REQUIRE(code_of([] {
                lagoon::Group<Named> lost{"lost", "one"};
                return 0;
            }) == Errc::bad_layout);
}

TEST_CASE("arena struct: a member outside of the struct is an error that names it",
          "[arena][struct]") {
    const auto name = unique_name("struct");
    const auto error = error_of([&] { return Arena<Stray>::create(name); });
    REQUIRE(error);
    REQUIRE(error->errc() == Errc::bad_layout);
    REQUIRE(contains(error->what(), "'outside'"));
    REQUIRE_FALSE(exists(file_of(name)));
}

TEST_CASE("arena struct: two members of one name are an error that names it", "[arena][struct]") {
    const auto error = error_of([] { return Arena<Twins>::create(unique_name("struct")); });
    REQUIRE(error);
    REQUIRE(error->errc() == Errc::name_taken);
    REQUIRE(contains(error->what(), "'same'"));
}

TEST_CASE("arena struct: a member's name is checked", "[arena][struct]") {
    for (const std::string bad : {"", "a b", "a/b", "\xc3\xa4", "a\n"}) {
        INFO(bad);
        REQUIRE(code_of([&] { return Arena<Named>::create(unique_name("struct"), {}, bad); }) ==
                Errc::bad_name);
    }
    REQUIRE(code_of([] {
                return Arena<Named>::create(unique_name("struct"), {}, std::string(64, 'x'));
            }) == Errc::bad_name);
    const auto longest = std::string(63, 'x');
    const auto name = unique_name("struct");
    const auto arena = Arena<Named>::create(name, {}, longest);
    REQUIRE(ArenaView::open(name).members().at(0).name == longest);
    REQUIRE(code_of([] {
                return Arena<Named>::create(unique_name("struct"), {}, std::string{"A-z_0.9"});
            }) == Errc{});
}

TEST_CASE("arena struct: bytes that belong to no member are an error", "[arena][struct]") {
    for (const auto code :
         {code_of([] { return Arena<Gap>::create(unique_name("struct")); }),
          code_of([] { return Arena<GapAtEnd>::create(unique_name("struct")); }),
          code_of([] { return Arena<GroupGap>::create(unique_name("struct")); })}) {
        REQUIRE(code == Errc::bad_layout);
    }
    REQUIRE(contains(text_of([] { return Arena<Gap>::create(unique_name("struct")); }),
                     "64 bytes at offset 64"));
}

TEST_CASE("arena struct: a constructor that differs from run to run is an error",
          "[arena][struct]") {
    const auto name = unique_name("struct");
    const auto error = error_of([&] { return Arena<Growing>::create(name); });
    REQUIRE(error);
    REQUIRE(error->errc() == Errc::bad_layout);
    REQUIRE(contains(error->what(), "not deterministic"));
    REQUIRE(code_of([&] { return Arena<Shrinking>::create(name); }) == Errc::bad_layout);
    REQUIRE(code_of([&] { return Arena<Renamed>::create(name); }) == Errc::bad_layout);
    REQUIRE_FALSE(exists(file_of(name)));
}

TEST_CASE("arena struct: its constructors run twice for create and once for open",
          "[arena][struct]") {
    const auto name = unique_name("struct");
    runs() = 0;
    const auto arena = Arena<Counted>::create(name);
    REQUIRE(runs() == 2);
    const auto again = Arena<Counted>::open(name);
    REQUIRE(runs() == 3);
}

TEST_CASE("arena struct: what a constructor throws reaches the caller and leaves nothing",
          "[arena][struct]") {
    const auto name = unique_name("struct");
    REQUIRE_THROWS_AS(Arena<Throwing>::create(name), std::runtime_error);
    REQUIRE_FALSE(exists(file_of(name)));
    // Afterwards this thread constructs structs as before.
    REQUIRE(code_of([&] { return Arena<Counted>::create(name); }) == Errc{});
}

TEST_CASE("arena struct: on_create runs once, attached, before the arena has its name",
          "[arena][struct]") {
    Prepared::name = unique_name("struct");
    Prepared::times = 0;
    Prepared::throws = false;
    const auto arena = Arena<Prepared>::create(Prepared::name);
    REQUIRE(Prepared::times == 1);
    REQUIRE_FALSE(Prepared::findable);
    REQUIRE(Prepared::attached);
    REQUIRE(arena->total.load() == 1);
    REQUIRE(*arena->pool.try_acquire() == 7);
    const auto same = Arena<Prepared>::open(Prepared::name);
    const auto third = Arena<Prepared>::open_or_create(Prepared::name);
    REQUIRE(Prepared::times == 1);
}

TEST_CASE("arena struct: when on_create throws there is no arena", "[arena][struct]") {
    Prepared::name = unique_name("struct");
    Prepared::throws = true;
    REQUIRE_THROWS_AS(Arena<Prepared>::create(Prepared::name), std::runtime_error);
    REQUIRE_FALSE(exists(file_of(Prepared::name)));
    REQUIRE_THROWS_AS(Arena<Prepared>::open_or_create(Prepared::name), std::runtime_error);
    Prepared::throws = false;
    REQUIRE(Arena<Prepared>::create(Prepared::name)->total.load() == 1);
}

namespace {
namespace original {
struct Point {
    float x = 0;
    float y = 0;
};
struct Root {
    lagoon::Counter first{"first"};
    lagoon::Array<int> second{"second", 6};
    lagoon::Value<Point> third{"third"};
};
}  // namespace original
namespace renamed {
struct Root {
    lagoon::Counter first{"erste"};
    lagoon::Array<int> second{"second", 6};
    lagoon::Value<original::Point> third{"third"};
};
}  // namespace renamed
namespace reordered {
struct Root {
    lagoon::Array<int> second{"second", 6};
    lagoon::Counter first{"first"};
    lagoon::Value<original::Point> third{"third"};
};
}  // namespace reordered
namespace other_kind {
struct Root {
    lagoon::Counter first{"first"};
    lagoon::Value<int> second{"second"};
    lagoon::Value<original::Point> third{"third"};
};
}  // namespace other_kind
namespace other_element {
struct Root {
    lagoon::Counter first{"first"};
    lagoon::Array<long> second{"second", 6};
    lagoon::Value<original::Point> third{"third"};
};
}  // namespace other_element
namespace same_size {
struct Root {
    lagoon::Counter first{"first"};
    lagoon::Array<float> second{"second", 6};
    lagoon::Value<original::Point> third{"third"};
};
}  // namespace same_size
namespace fewer {
struct Root {
    lagoon::Counter first{"first"};
    lagoon::Array<int> second{"second", 6};
};
}  // namespace fewer
namespace more {
struct Root {
    lagoon::Counter first{"first"};
    lagoon::Array<int> second{"second", 6};
    lagoon::Value<original::Point> third{"third"};
    lagoon::Lock fourth{"fourth"};
};
}  // namespace more
namespace wider {
struct Point {
    static constexpr const char* arena_name = "p";
    float x = 0;
    float y = 0;
    float z = 0;
};
struct Root {
    lagoon::Value<Point> p{"p"};
};
}  // namespace wider
namespace narrower {
struct Point {
    static constexpr const char* arena_name = "p";
    float x = 0;
    float y = 0;
};
struct Root {
    lagoon::Value<Point> p{"p"};
};
}  // namespace narrower
namespace other_fields {
struct Point {
    static constexpr const char* arena_name = "p";
    float x = 0;
    int y = 0;
};
struct Root {
    lagoon::Value<Point> p{"p"};
};
}  // namespace other_fields
namespace nested {
struct Root {
    struct Job {
        int number = 0;
        lagoon::String<16> text;
    };
    lagoon::Array<Job> jobs{"jobs", 3};
    lagoon::Pool<Job> pool{"pool", {.capacity = 2}};
};
}  // namespace nested

template <class Other, class Mine = original::Root>
std::string difference() {
    const auto name = unique_name("struct");
    const auto arena = Arena<Mine>::create(name);
    const auto error = error_of([&] { return Arena<Other>::open(name); });
    REQUIRE(error);
    REQUIRE(error->errc() == Errc::layout_mismatch);
    REQUIRE(contains(error->what(), "'" + name + "'"));
    // open_or_create finds the same, and makes nothing.
    REQUIRE(code_of([&] { return Arena<Other>::open_or_create(name); }) == Errc::layout_mismatch);
    // Whoever failed to open it is no member of it.
    REQUIRE(ArenaView::open(name).processes().size() == 1);
    return error->what();
}

}  // namespace

TEST_CASE("arena struct: open names the first difference between the two structs",
          "[arena][struct]") {
    using namespace std::string_literals;
    REQUIRE(contains(difference<renamed::Root>(), "'erste' in this program and 'first'"));
    REQUIRE(contains(difference<reordered::Root>(), "member 0 is 'second'"));
    REQUIRE(contains(difference<other_kind::Root>(),
                     "member 'second' is Value<int> in this program and Array<int> in the arena"));
    REQUIRE(contains(difference<other_element::Root>(),
                     "member 'second' is Array<long> in this program and Array<int> in the arena"));
    REQUIRE(contains(difference<same_size::Root>(), "Array<float> in this program"));
    REQUIRE(contains(difference<fewer::Root>(), "'third' is only in the arena"));
    REQUIRE(contains(difference<more::Root>(), "'fourth' is only in this program"));
    REQUIRE(contains(difference<wider::Root, narrower::Root>(), "12 bytes"));
    REQUIRE(contains(difference<other_fields::Root, narrower::Root>(), "fields"));
}

TEST_CASE("arena struct: element types may be nested in the struct", "[arena][struct]") {
    const auto name = unique_name("struct");
    const auto arena = Arena<nested::Root>::create(name);
    arena->jobs.span()[2] = {5, "five"};
    REQUIRE(arena->pool.add({6, "six"}));
    const auto same = Arena<nested::Root>::open(name);
    REQUIRE(same->jobs.span()[2].text == "five");
    REQUIRE(same->pool.try_acquire()->number == 6);
}

TEST_CASE("arena view: lists the directory and finds members, checked", "[arena][struct]") {
    const auto name = unique_name("struct");
    const auto arena = Arena<original::Root>::create(name);
    arena->first.add(4);
    arena->second[1].store(8);
    const auto view = ArenaView::open(name);
    REQUIRE(view.name() == name);
    REQUIRE(view.bytes() == arena.bytes());
    REQUIRE(view.scoped());
    REQUIRE_FALSE(view.is_shut_down());
    REQUIRE(view.creator_pid() == static_cast<std::uint32_t>(::getpid()));
    const auto members = view.members();
    REQUIRE(members.size() == 3);
    REQUIRE(members[1].name == "second");
    REQUIRE(members[1].kind == "Array<int>");
    REQUIRE(members[1].element_bytes == 4);
    REQUIRE(members[1].extent == 6);
    REQUIRE(members[1].bytes == 24);
    REQUIRE(view.find<lagoon::Counter>("first").load() == 4);
    REQUIRE(view.find<lagoon::Array<int>>("second")[1].load() == 8);
    REQUIRE(code_of([&] { return &view.find<lagoon::Counter>("none"); }) == Errc::not_found);
    REQUIRE(code_of([&] { return &view.find<lagoon::Counter>("second"); }) ==
            Errc::layout_mismatch);
    REQUIRE(code_of([&] { return &view.find<lagoon::Array<long>>("second"); }) ==
            Errc::layout_mismatch);
}

TEST_CASE("arena view: finds a pool of any capacity, and lends from it", "[arena][struct]") {
    const auto name = unique_name("struct");
    const auto arena = Arena<nested::Root>::create(name);
    REQUIRE(arena->pool.add({6, "six"}));
    const auto view = ArenaView::open(name, {.writable = true});
    auto& pool = view.find<lagoon::Pool<nested::Root::Job>>("pool");
    REQUIRE(pool.capacity() == arena->pool.capacity());
    const auto lease = pool.try_acquire();
    REQUIRE(lease);
    REQUIRE(lease->text == "six");
    REQUIRE(code_of([&] { return &view.find<lagoon::Pool<int>>("pool"); }) ==
            Errc::layout_mismatch);
}

TEST_CASE("arena view: a writable one is a member, a read-only one is none",
          "[arena][struct][process]") {
    const auto name = unique_name("struct");
    const auto arena = Arena<original::Root>::create(name);
    REQUIRE(support::in_child([&] {
                const auto reading = ArenaView::open(name);
                if (reading.processes().size() != 1) return 1;
                const auto writing = ArenaView::open(name, {.writable = true});
                if (reading.processes().size() != 2) return 2;
                writing.find<lagoon::Counter>("first").add(3);
                return 0;
            }) == support::exited(0));
    REQUIRE(arena->first.load() == 3);
    REQUIRE(support::in_child([&] {
                ArenaView::open(name).find<lagoon::Counter>("first").add(3);
                return 0;
            }) == support::killed_by(SIGSEGV));
}

namespace ambiguous {
using namespace lagoon;  // NOLINT: that is what is tested
template <class Name>
constexpr bool can_remove_unqualified = requires(Name name) {
    remove(name);
};
}  // namespace ambiguous

// An unqualified remove("x") after `using namespace lagoon` must not reach the C function.
static_assert(!ambiguous::can_remove_unqualified<const char*>);
