// Which types may lie in an arena, what they are called, and when two of them differ.
// One piece although long: what is safe and what it is called is asked of the same types.
#include <catch2/catch.hpp>

#include <array>
#include <bitset>
#include <chrono>
#include <complex>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include <lagoon/arena_safe.hpp>
#include <lagoon/string.hpp>

namespace types_under_test {

enum class Colour : std::uint8_t { red, green };
enum Plain { first, second };

struct Empty {};
struct Point {
    int x = 0;
    int y = 0;
};
struct Arrays {
    char text[4096];
    int grid[2][3];
    Point corners[4];
    std::array<std::array<double, 2>, 3> table;
    int last;
};
struct Bits {
    unsigned low : 3;
    unsigned : 5;
    unsigned high : 8;
    bool flag : 1;
    Colour colour : 4;
};
struct Library {
    std::optional<Point> place;
    std::variant<std::monostate, int, Point> either;
    std::complex<float> wave;
    std::chrono::nanoseconds pause;
    std::chrono::steady_clock::time_point moment;
    std::chrono::year_month_day date;
};
struct Nested {
    Empty nothing;
    Point point;
    Arrays arrays;
    Colour colour;
    Plain plain;
    lagoon::String<32> name;
};
struct Fields32 {
    char a0, a1, a2, a3, a4, a5, a6, a7;
    int b0, b1, b2, b3, b4, b5, b6, b7;
    long c0, c1, c2, c3, c4, c5, c6, c7;
    Point d0, d1, d2, d3, d4, d5, d6, d7;
};
struct OnlyABase : Empty {};
struct TooMany {
    char a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7, c0, c1, c2, c3, c4, c5, c6,
        c7, d0, d1, d2, d3, d4, d5, d6, d7, e0;
};
struct PointerAt32 {
    char a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7, c0, c1, c2, c3, c4, c5, c6,
        c7, d0, d1, d2, d3, d4, d5, d6;
    char* d7;
};

template <class T>
struct Holding {
    int before;
    T field;
    int after;
};
template <class T>
struct After {
    char text[7];
    int grid[2][3];
    T field;
};
template <class T>
struct Deep {
    Holding<After<T>> inner[2];
};

class Private {
public:
    explicit Private(int value = 0) : value_{value} {}
    int value_plus(int more) const { return value_ + more; }

private:
    int value_;
};
class Promised {
public:
    using lagoon_arena_safe = void;
    Promised() = default;
    Promised(int value) : value_{value} {}
    int value() const { return value_; }

private:
    int value_ = 0;
};
class PromisedButNotTrivial {
public:
    using lagoon_arena_safe = void;
    ~PromisedButNotTrivial() { value_ = 0; }

private:
    int value_ = 0;
};
struct WithBase : Point {
    int z;
};
struct WithEmptyBase : Empty {
    int z;
};
struct BaseFieldFirst {
    Point point;
    int z;
};
union Either {
    int whole;
    char bytes[4];
};
union PromisedUnion {
    using lagoon_arena_safe = void;
    int whole;
    char bytes[4];
};
struct Virtual {
    virtual void run() {}
    int value = 0;
};
struct Destroyed {
    int value = 0;
    ~Destroyed() { value = 0; }
};
struct NeedsValue {
    using lagoon_arena_safe = void;
    constexpr NeedsValue(int start) : value{start} {}
    int value;
};
struct Reference {
    int before;
    int& field;
};
struct ConstReference {
    int before;
    const int& field;
};
struct Moved {
    int before;
    int&& field;
};
struct ConstField {
    const int id;
    int value;
};

struct Named {
    static constexpr const char* arena_name = "billing.Named/2";
    int value;
};
template <class T, int N>
struct Box {
    T value[N];
};

// Calls the check where members of an arena do: in the constructor, not at class scope.
template <class T>
struct Member {
    Member() { lagoon::detail::require_arena_safe<T>(); }
    T value{};
};
struct Root {
    struct Cluster {
        int jobs = 7;
        struct Place {
            double x = 1.5;
            lagoon::String<8> name = "here";
        } place;
    };
    Member<Cluster> cluster;
};

}  // namespace types_under_test

using namespace types_under_test;
using lagoon::ArenaSafe;
using lagoon::detail::Hazard;
using lagoon::detail::hazard_of;
using lagoon::detail::type_name;
using lagoon::detail::type_shape;

namespace {

// Found alone, in a struct, behind arrays, deep inside, in arrays and in what the library wraps.
template <class T, Hazard What>
constexpr bool found_everywhere() {
    return hazard_of<T>() == What && hazard_of<Holding<T>>() == What &&
           hazard_of<After<T>>() == What && hazard_of<Deep<T>>() == What &&
           hazard_of<T[3]>() == What && hazard_of<std::array<T, 3>>() == What &&
           hazard_of<std::optional<T>>() == What && hazard_of<std::variant<int, T>>() == What &&
           !ArenaSafe<T> && !ArenaSafe<Deep<T>>;
}

template <class T>
constexpr bool safe_everywhere() {
    return ArenaSafe<T> && ArenaSafe<const T> && ArenaSafe<Holding<T>> && ArenaSafe<After<T>> &&
           ArenaSafe<Deep<T>> && ArenaSafe<T[3]> && ArenaSafe<std::array<T, 3>> &&
           ArenaSafe<std::optional<T>>;
}

template <class T>
constexpr std::size_t field_count = 0;
template <class... T>
constexpr std::size_t field_count<lagoon::detail::TypeList<T...>> = sizeof...(T);
template <class T>
constexpr std::size_t fields = field_count<decltype(lagoon::detail::fields_of<T>())>;

}  // namespace

TEST_CASE("arena_safe: numbers and enums are safe", "[arena_safe]") {
    STATIC_REQUIRE(safe_everywhere<bool>());
    STATIC_REQUIRE(safe_everywhere<char8_t>());
    STATIC_REQUIRE(safe_everywhere<unsigned long long>());
    STATIC_REQUIRE(safe_everywhere<long double>());
    STATIC_REQUIRE(safe_everywhere<std::byte>());
    STATIC_REQUIRE(safe_everywhere<Colour>());
    STATIC_REQUIRE(safe_everywhere<Plain>());
    STATIC_REQUIRE(safe_everywhere<std::uintptr_t>());
}

TEST_CASE("arena_safe: aggregates of safe fields are safe", "[arena_safe]") {
    STATIC_REQUIRE(safe_everywhere<Empty>());
    STATIC_REQUIRE(safe_everywhere<Point>());
    STATIC_REQUIRE(safe_everywhere<Nested>());
    STATIC_REQUIRE(safe_everywhere<BaseFieldFirst>());
    STATIC_REQUIRE(safe_everywhere<Box<Point, 5>>());
}

TEST_CASE("arena_safe: an array counts as one field", "[arena_safe]") {
    STATIC_REQUIRE(fields<Arrays> == 5);
    STATIC_REQUIRE(fields<Box<int, 40>> == 1);
    STATIC_REQUIRE(
        std::is_same_v<decltype(lagoon::detail::fields_of<Arrays>()),
                       lagoon::detail::TypeList<char[4096], int[2][3], Point[4],
                                                std::array<std::array<double, 2>, 3>, int>>);
    STATIC_REQUIRE(safe_everywhere<Arrays>());
}

TEST_CASE("arena_safe: bit-fields are looked into", "[arena_safe]") {
    STATIC_REQUIRE(fields<Bits> == 4);
    STATIC_REQUIRE(safe_everywhere<Bits>());
}

TEST_CASE("arena_safe: optional, variant, complex and chrono of safe things are safe",
          "[arena_safe]") {
    STATIC_REQUIRE(fields<Library> == 6);
    STATIC_REQUIRE(safe_everywhere<Library>());
}

TEST_CASE("arena_safe: up to 32 fields are looked into and more are refused as such",
          "[arena_safe]") {
    STATIC_REQUIRE(fields<Fields32> == 32);
    STATIC_REQUIRE(safe_everywhere<Fields32>());
    STATIC_REQUIRE(found_everywhere<PointerAt32, Hazard::pointer>());
    STATIC_REQUIRE(found_everywhere<TooMany, Hazard::too_many_fields>());
}

TEST_CASE("arena_safe: pointers of every kind are refused wherever they are", "[arena_safe]") {
    STATIC_REQUIRE(found_everywhere<int*, Hazard::pointer>());
    STATIC_REQUIRE(found_everywhere<const char*, Hazard::pointer>());
    STATIC_REQUIRE(found_everywhere<void*, Hazard::pointer>());
    STATIC_REQUIRE(found_everywhere<int (*)(int), Hazard::pointer>());
    STATIC_REQUIRE(found_everywhere<int Point::*, Hazard::pointer>());
    STATIC_REQUIRE(found_everywhere<int (Private::*)(int) const, Hazard::pointer>());
    STATIC_REQUIRE(found_everywhere<std::nullptr_t, Hazard::pointer>());
    STATIC_REQUIRE(hazard_of<std::chrono::duration<int*>>() == Hazard::pointer);
}

TEST_CASE("arena_safe: references are refused", "[arena_safe]") {
    STATIC_REQUIRE(hazard_of<int&>() == Hazard::reference);
    STATIC_REQUIRE(hazard_of<std::reference_wrapper<int>>() == Hazard::reference);
    STATIC_REQUIRE(hazard_of<Reference>() == Hazard::unreadable_field);
    STATIC_REQUIRE(hazard_of<ConstReference>() == Hazard::not_assignable);
    STATIC_REQUIRE(hazard_of<Moved>() == Hazard::not_assignable);
    STATIC_REQUIRE(!ArenaSafe<Holding<Reference>>);
    STATIC_REQUIRE(!ArenaSafe<Holding<ConstReference>>);
    STATIC_REQUIRE(!ArenaSafe<Holding<Moved>>);
}

TEST_CASE("arena_safe: a const field is refused because elements are stored by assignment",
          "[arena_safe]") {
    STATIC_REQUIRE(hazard_of<ConstField>() == Hazard::not_assignable);
    STATIC_REQUIRE(hazard_of<Holding<ConstField>>() == Hazard::not_assignable);
}

TEST_CASE("arena_safe: string_view, span, pair and tuple are refused by name", "[arena_safe]") {
    STATIC_REQUIRE(found_everywhere<std::string_view, Hazard::string_view>());
    STATIC_REQUIRE(found_everywhere<std::span<int>, Hazard::span>());
    STATIC_REQUIRE(hazard_of<std::span<int, 4>>() == Hazard::span);
    STATIC_REQUIRE(found_everywhere<std::pair<int, int>, Hazard::pair_or_tuple>());
    STATIC_REQUIRE(found_everywhere<std::tuple<int, int>, Hazard::pair_or_tuple>());
}

TEST_CASE("arena_safe: what is not trivially copyable is refused", "[arena_safe]") {
    STATIC_REQUIRE(found_everywhere<std::string, Hazard::not_trivial>());
    STATIC_REQUIRE(found_everywhere<std::vector<int>, Hazard::not_trivial>());
    STATIC_REQUIRE(hazard_of<Virtual>() == Hazard::not_trivial);
    STATIC_REQUIRE(hazard_of<Destroyed>() == Hazard::not_trivial);
    STATIC_REQUIRE(hazard_of<PromisedButNotTrivial>() == Hazard::not_trivial);
}

TEST_CASE("arena_safe: what cannot be looked into needs the promise", "[arena_safe]") {
    STATIC_REQUIRE(hazard_of<Private>() == Hazard::opaque_class);
    STATIC_REQUIRE(hazard_of<std::bitset<8>>() == Hazard::opaque_class);
    STATIC_REQUIRE(found_everywhere<WithBase, Hazard::bases>());
    STATIC_REQUIRE(found_everywhere<WithEmptyBase, Hazard::bases>());
    STATIC_REQUIRE(found_everywhere<OnlyABase, Hazard::bases>());
    STATIC_REQUIRE(found_everywhere<Either, Hazard::union_type>());
    STATIC_REQUIRE(safe_everywhere<Promised>());
    STATIC_REQUIRE(safe_everywhere<PromisedUnion>());
    STATIC_REQUIRE(ArenaSafe<NeedsValue>);
    STATIC_REQUIRE(hazard_of<Holding<NeedsValue>>() == Hazard::unreadable_field);
}

TEST_CASE("arena_safe: void, functions and unbounded arrays are no element types", "[arena_safe]") {
    STATIC_REQUIRE(hazard_of<void>() == Hazard::not_an_object);
    STATIC_REQUIRE(hazard_of<int(int)>() == Hazard::not_an_object);
    STATIC_REQUIRE(hazard_of<int[]>() == Hazard::not_an_object);
}

TEST_CASE("arena_safe: a type nested in the user's struct may have default values",
          "[arena_safe]") {
    const Root root;
    CHECK(root.cluster.value.jobs == 7);
    CHECK(root.cluster.value.place.name == "here");
    STATIC_REQUIRE(ArenaSafe<Root::Cluster>);
}

TEST_CASE("type_name: fundamental types are spelled as in C++", "[type_name]") {
    CHECK(type_name<bool>() == "bool");
    CHECK(type_name<char>() == "char");
    CHECK(type_name<signed char>() == "signed char");
    CHECK(type_name<char8_t>() == "char8_t");
    CHECK(type_name<unsigned short>() == "unsigned short");
    CHECK(type_name<int>() == "int");
    CHECK(type_name<unsigned>() == "unsigned int");
    CHECK(type_name<long>() == "long");
    CHECK(type_name<long long>() == "long long");
    CHECK(type_name<unsigned long>() == "unsigned long");
    CHECK(type_name<double>() == "double");
    CHECK(type_name<long double>() == "long double");
}

TEST_CASE("type_name: const does not count", "[type_name]") {
    CHECK(type_name<const long>() == "long");
    CHECK(type_shape<const long>() == type_shape<long>());
}

TEST_CASE("type_name: arrays and library wrappers name what they hold", "[type_name]") {
    CHECK(type_name<int[3]>() == "int[3]");
    CHECK(type_name<int[2][3]>() == "int[2][3]");
    CHECK(type_name<std::array<long, 3>>() == "std::array<long, 3>");
    CHECK(type_name<std::array<Named, 2>>() == "std::array<billing.Named/2, 2>");
    CHECK(type_name<lagoon::String<32>>() == "lagoon::String<32>");
    CHECK(type_name<std::array<lagoon::String<8>, 2>[4]>() ==
          "std::array<lagoon::String<8>, 2>[4]");
    CHECK(type_name<std::optional<Named>>() == "std::optional<billing.Named/2>");
    CHECK(type_name<std::variant<int, Named>>() == "std::variant<int, billing.Named/2>");
    CHECK(type_name<std::complex<float>>() == "std::complex<float>");
}

TEST_CASE("type_name: a user's type has its arena_name, else its own name", "[type_name]") {
    CHECK(type_name<Named>() == "billing.Named/2");
    CHECK(type_name<Point>() == "types_under_test::Point");
    CHECK(type_name<Colour>() == "types_under_test::Colour");
    CHECK(type_name<Box<long, 5>>() == "types_under_test::Box<long, 5>");
}

TEST_CASE("type_name: the library's version namespace is not part of a name", "[type_name]") {
    CHECK(type_name<Box<lagoon::String<8>, 2>>() ==
          "types_under_test::Box<lagoon::String<8ul>, 2>");
    CHECK(type_name<lagoon::Errc>() == "lagoon::Errc");
}

namespace {

// One name for each of several structs of 16 bytes.
template <class... T>
struct Version;
template <class A, class B>
struct Version<A, B> {
    static constexpr const char* arena_name = "Version";
    A a;
    B b;
};

}  // namespace

TEST_CASE("type_shape: structs of one name and size with other fields differ", "[type_shape]") {
    using A = Version<long, double>;
    using B = Version<double, long>;
    using C = Version<long, unsigned long>;
    using D = Version<std::array<int, 2>, double>;
    CHECK(type_name<A>() == type_name<B>());
    CHECK(sizeof(A) == sizeof(D));
    CHECK(type_shape<A>() != type_shape<B>());
    CHECK(type_shape<A>() != type_shape<C>());
    CHECK(type_shape<A>() != type_shape<D>());
    CHECK(type_shape<A>() == type_shape<Version<long, double>>());
}

TEST_CASE("type_shape: a change in a nested struct, an array or an optional shows",
          "[type_shape]") {
    CHECK(type_shape<Deep<int>>() != type_shape<Deep<unsigned>>());
    CHECK(type_shape<Holding<int[2]>>() != type_shape<Holding<long>>());
    CHECK(type_shape<Version<std::optional<Version<int, float>>, int>>() !=
          type_shape<Version<std::optional<Version<float, int>>, int>>());
    CHECK(type_shape<int[2][3]>() != type_shape<int[3][2]>());
}

TEST_CASE("type_shape: an opted-in class counts by name, size and alignment", "[type_shape]") {
    CHECK(type_shape<Holding<Promised>>() != type_shape<Holding<int>>());
    CHECK(type_shape<lagoon::String<8>>() != type_shape<lagoon::String<9>>());
    CHECK(type_shape<Promised>() == type_shape<Promised>());
}

TEST_CASE("type_shape: an enum counts by name and underlying type", "[type_shape]") {
    CHECK(type_shape<Colour>() != type_shape<std::uint8_t>());
    CHECK(type_shape<Colour>() != type_shape<Plain>());
}

TEST_CASE("type_shape: the values are part of the file format", "[type_shape]") {
    // Computed by hand from the rule (FNV-1a over names, sizes, alignments), not by this code.
    CHECK(type_shape<int>() == 0x2b13189ccfba405a);
    CHECK(type_shape<Point>() == 0x5431829330b38a5b);
    CHECK(type_shape<Nested>() == 0xced8f10696a631a5);
}
