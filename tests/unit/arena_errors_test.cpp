// arena_errors_test.cpp: files that are no arena, or no longer, and an environment that refuses.
// One piece although long: all cases damage the same arena by the same helpers.
#include <lagoon/lagoon.hpp>

#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <runtime/arena_file.hpp>
#include <string>
#include <vector>

#include "support/arenas.hpp"
#include "support/sandbox.hpp"

using lagoon::Arena;
using lagoon::ArenaOptions;
using lagoon::ArenaView;
using lagoon::Errc;
using support::code_of;
using support::error_of;
using support::exists;
using support::file_of;
using support::in_child;
using support::text_of;
using support::unique_name;

namespace {

using lagoon::detail::ArenaHeader;
using lagoon::detail::DirectoryEntry;

struct Tally {
    explicit Tally(lagoon::Count n = 8) : numbers{"numbers", n} {}
    lagoon::Counter total{"total"};
    lagoon::Array<int> numbers;
    lagoon::ShardedCounter hits{"hits"};
    lagoon::Value<std::array<int, 8>> wide{"wide"};
    lagoon::Lock lock{"lock"};
    lagoon::Pool<int> pool{"pool", {.capacity = 2}};
};

ArenaOptions persistent() {
    ArenaOptions options;
    options.lifetime = lagoon::Lifetime::persistent;
    options.max_processes = 4;
    options.max_threads = 4;
    return options;
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

/// The bytes of a sound arena that nobody is attached to, with a total of 4.
std::vector<char> sound_bytes() {
    const auto name = unique_name("sound");
    {
        const auto arena = Arena<Tally>::create(name, persistent());
        arena->total.add(4);
        arena->pool.add(1);
    }
    std::ifstream in{file_of(name), std::ios::binary};
    std::vector<char> bytes{std::istreambuf_iterator<char>{in}, {}};
    REQUIRE(lagoon::remove(name));
    return bytes;
}
void write_file(const std::string& name, const std::vector<char>& bytes) {
    std::ofstream{file_of(name), std::ios::binary | std::ios::trunc}.write(
        bytes.data(), static_cast<std::streamsize>(bytes.size()));
}
/// Makes the checksum right again after a change.
void reseal(std::vector<char>& bytes) {
    ArenaHeader header;
    std::memcpy(static_cast<void*>(&header), bytes.data(), sizeof header);
    header.checksum = lagoon::detail::checksum_of(
        header, reinterpret_cast<DirectoryEntry*>(bytes.data() + header.directory_offset));
    std::memcpy(bytes.data(), static_cast<void*>(&header), sizeof header);
}

/// open, view, reap and create meet the file; every one but create says `expected`.
void require_refused(const std::string& name, Errc expected, const std::string& part = "") {
    INFO(name);
    const auto error = error_of([&] { return Arena<Tally>::open(name); });
    REQUIRE(error);
    INFO(error->what());
    REQUIRE(error->errc() == expected);
    REQUIRE(contains(error->what(), "'" + name + "'"));
    REQUIRE(contains(error->what(), part));
    REQUIRE(code_of([&] { return Arena<Tally>::open_or_create(name); }) == expected);
    REQUIRE(code_of([&] { return ArenaView::open(name); }) == expected);
    REQUIRE(code_of([&] { return ArenaView::open(name, {.writable = true}); }) == expected);
    REQUIRE(code_of([&] { return lagoon::reap(name); }) == expected);
    REQUIRE(code_of([&] { return Arena<Tally>::create(name); }) == Errc::name_taken);
    bool listed = false;
    for (const auto& arena : lagoon::list_arenas()) {
        listed = listed || (arena.name == name && !arena.problem.empty());
    }
    REQUIRE(listed);
    REQUIRE(exists(file_of(name)));
}

}  // namespace

TEST_CASE("arena error: a name with other characters is bad, wherever it is given",
          "[arena][errors]") {
    for (const std::string& bad :
         {std::string{}, std::string{"a b"}, std::string{"a/b"}, std::string{"../x"},
          std::string{"a\0b", 3}, std::string(200, 'x'), std::string{"\xc3\xa4"}}) {
        INFO(bad);
        REQUIRE(code_of([&] { return Arena<Tally>::create(bad); }) == Errc::bad_name);
        REQUIRE(code_of([&] { return Arena<Tally>::open(bad); }) == Errc::bad_name);
        REQUIRE(code_of([&] { return Arena<Tally>::open_or_create(bad); }) == Errc::bad_name);
        REQUIRE(code_of([&] { return ArenaView::open(bad); }) == Errc::bad_name);
        REQUIRE(code_of([&] { return lagoon::reap(bad); }) == Errc::bad_name);
        REQUIRE(code_of([&] { return lagoon::remove(bad); }) == Errc::bad_name);
    }
    const std::string longest(199, 'x');
    REQUIRE(Arena<Tally>::create(longest).name() == longest);
    REQUIRE(code_of([] { return Arena<Tally>::create(unique_name("A-z_0.9.")); }) == Errc{});
}

TEST_CASE("arena error: options that cannot be", "[arena][errors]") {
    const auto code = [](std::uint64_t processes, std::uint64_t threads) {
        ArenaOptions options;
        options.max_processes = processes;
        options.max_threads = threads;
        return code_of([&] { return Arena<Tally>::create(unique_name("options"), options); });
    };
    REQUIRE(code(0, 1) == Errc::invalid_argument);
    REQUIRE(code(1, 0) == Errc::invalid_argument);
    REQUIRE(code(1, 1023) == Errc::invalid_argument);
    REQUIRE(code(std::uint64_t{1} << 63, std::uint64_t{1} << 63) == Errc::invalid_argument);
    REQUIRE(code(~std::uint64_t{0}, 2) == Errc::invalid_argument);
    REQUIRE(code(4'000'000'000, 1) == Errc::invalid_argument);
    REQUIRE(code(1, 1) == Errc{});
    REQUIRE(code(1, 1022) == Errc{});
}

TEST_CASE("arena error: a directory that is none, or takes no files", "[arena][errors]") {
    const auto text_and_code = [](const std::string& directory) {
        const auto error = error_of([&] {
            ArenaOptions options;
            options.directory = directory;
            return Arena<Tally>::create(unique_name("nowhere"), options);
        });
        REQUIRE(error);
        REQUIRE(contains(error->what(), directory));
        return error->errc();
    };
    REQUIRE(text_and_code("/no/such/directory") == Errc::system);
    const auto reason = text_and_code("/proc/self");
    REQUIRE(
        (reason == Errc::not_supported || reason == Errc::not_permitted || reason == Errc::system));
    lagoon::OpenOptions options;
    options.directory = "/no/such/directory";
    REQUIRE(code_of([&] { return Arena<Tally>::open("x", options); }) == Errc::no_such_arena);
    REQUIRE(code_of([] { return lagoon::list_arenas("/no/such/directory"); }) == Errc::system);
}

TEST_CASE("arena error: what is no regular file is no arena", "[arena][errors]") {
    const auto name = unique_name("irregular");
    const auto path = file_of(name);
    const auto target = unique_name("target");
    SECTION("a directory") { REQUIRE(::mkdir(path.c_str(), 0700) == 0); }
    SECTION("a FIFO") { REQUIRE(::mkfifo(path.c_str(), 0600) == 0); }
    SECTION("a socket") {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        ::close(fd);
    }
    SECTION("a link that leads nowhere") { REQUIRE(::symlink("nowhere", path.c_str()) == 0); }
    SECTION("a link to a sound arena") {
        Arena<Tally>::create(target, persistent()).close();
        REQUIRE(::symlink(file_of(target).c_str(), path.c_str()) == 0);
    }
    require_refused(name, Errc::not_an_arena);
    REQUIRE(code_of([&] { return lagoon::remove(name); }) == Errc::not_an_arena);
    std::filesystem::remove(path);
    if (exists(file_of(target))) {
        REQUIRE(lagoon::remove(target));
    }
}

TEST_CASE("arena error: a file that is something else, truncated, extended or newer",
          "[arena][errors]") {
    const auto sound = sound_bytes();
    auto bytes = sound;
    const auto name = unique_name("file");
    const auto refused = [&](Errc expected, const std::string& part = "") {
        write_file(name, bytes);
        require_refused(name, expected, part);
        REQUIRE(lagoon::remove(name));  // a file that carries an arena's name can go
        bytes = sound;
    };
    const auto set = [&](std::size_t offset, auto value) {
        std::memcpy(bytes.data() + offset, &value, sizeof value);
        reseal(bytes);
    };
    SECTION("empty") {
        bytes.clear();
        refused(Errc::corrupt, "0 bytes");
    }
    SECTION("foreign bytes") {
        std::fill(bytes.begin(), bytes.end(), 'x');
        refused(Errc::not_an_arena);
        bytes.assign(bytes.size(), '\0');
        refused(Errc::not_an_arena);
    }
    SECTION("truncated") {
        for (const std::size_t size : {std::size_t{1}, std::size_t{100}, std::size_t{4095},
                                       std::size_t{4096}, bytes.size() - 4096, bytes.size() - 1}) {
            bytes.resize(size);
            refused(Errc::corrupt);
        }
    }
    SECTION("extended") {
        bytes.resize(bytes.size() + 1);
        refused(Errc::corrupt, "extended");
        bytes.resize(bytes.size() + 4096);
        refused(Errc::corrupt, "extended");
    }
    SECTION("newer") {
        set(offsetof(ArenaHeader, version), lagoon::detail::format_version + 1);
        refused(Errc::version_mismatch,
                "reads format " + std::to_string(lagoon::detail::format_version));
    }
    SECTION("of another byte order") {
        set(offsetof(ArenaHeader, byte_order), std::uint32_t{0x04030201});
        refused(Errc::version_mismatch, "byte order");
    }
    SECTION("numbers that cannot be, with a good checksum") {
        for (const std::size_t field :
             {offsetof(ArenaHeader, header_bytes), offsetof(ArenaHeader, arena_bytes),
              offsetof(ArenaHeader, members_offset), offsetof(ArenaHeader, lanes_offset),
              offsetof(ArenaHeader, root_offset), offsetof(ArenaHeader, root_bytes),
              offsetof(ArenaHeader, storage_offset)}) {
            for (const std::uint64_t bad : {~std::uint64_t{0}, ~std::uint64_t{63},
                                            std::uint64_t{1} << 40, std::uint64_t{1} << 63}) {
                set(field, bad);
                INFO(field);
                refused(Errc::corrupt);
            }
        }
        for (const std::uint32_t bad : {0U, 1024U, ~0U}) {
            set(offsetof(ArenaHeader, max_members), bad);
            refused(Errc::corrupt);
        }
        set(offsetof(ArenaHeader, max_lanes), ~0U);
        refused(Errc::corrupt);
    }
}

TEST_CASE("arena error: a directory that cannot be, with a good checksum", "[arena][errors]") {
    auto bytes = sound_bytes();
    const auto name = unique_name("directory");
    const auto at = [&](std::size_t field) {
        ArenaHeader header;
        std::memcpy(static_cast<void*>(&header), bytes.data(), sizeof header);
        return header.directory_offset + sizeof(DirectoryEntry) + field;  // 'numbers'
    };
    const auto set = [&](std::size_t field, std::uint64_t value) {
        std::memcpy(bytes.data() + at(field), &value, sizeof value);
        reseal(bytes);
        write_file(name, bytes);
        require_refused(name, Errc::corrupt);
    };
    const std::uint64_t huge = GENERATE(~std::uint64_t{0}, std::uint64_t{1} << 63,
                                        std::uint64_t{1} << 40, ~std::uint64_t{63});
    SECTION("object offset") { set(offsetof(DirectoryEntry, object_offset), huge); }
    SECTION("object bytes") { set(offsetof(DirectoryEntry, object_bytes), huge); }
    SECTION("extent") { set(offsetof(DirectoryEntry, extent), huge); }
    SECTION("storage offset") { set(offsetof(DirectoryEntry, storage_offset), huge); }
    SECTION("storage bytes") { set(offsetof(DirectoryEntry, storage_bytes), huge); }
    REQUIRE(lagoon::remove(name));
}

TEST_CASE(
    "arena error: whatever byte of header, entries or directory is flipped, opening says so "
    "or opens soundly",
    "[arena][errors][process]") {
    const auto sound = sound_bytes();
    ArenaHeader header;
    std::memcpy(static_cast<void*>(&header), sound.data(), sizeof header);
    const std::size_t end =
        header.directory_offset + header.directory_count * sizeof(DirectoryEntry);
    const auto name = unique_name("flip");
    write_file(name, sound);
    support::Shared<std::atomic<std::size_t>> at;
    support::Shared<std::atomic<std::size_t>> opened;
    const auto ended = in_child([&] {
        for (; *at < end; ++*at) {
            // Between the header's last word and the members there is nothing.
            if (*at == sizeof(ArenaHeader)) *at = header.members_offset;
            for (const int mask : {0x01, 0x80, 0xff}) {
                const char flipped = static_cast<char>(sound[*at] ^ mask);
                support::patch(file_of(name), *at, &flipped, 1);
                try {
                    const auto arena = Arena<Tally>::open(name);
                    if (arena->total.load() != 4) return 1;
                    if (arena->numbers.size() != 8) return 2;
                    arena->numbers[7].store(1);
                    arena->hits.add(1);
                    arena->wide.store({});
                    if (!arena->lock.try_lock()) return 3;
                    arena->lock.unlock();
                    if (*arena->pool.try_acquire() != 1) return 4;
                    (void)arena.reap();
                    // What the checksum covers does not get this far.
                    if (*at < offsetof(ArenaHeader, checksum) + sizeof header.checksum) return 5;
                    if (*at >= header.directory_offset) return 6;
                    ++*opened;
                } catch (const lagoon::Error&) {
                }
                (void)code_of([&] { return ArenaView::open(name).processes().size(); });
                write_file(name, sound);
            }
        }
        return 0;
    });
    INFO("byte " << *at << " of " << end);
    REQUIRE(ended == support::exited(0));
    std::printf("flips: %zu bytes, %zu of %zu openings went well\n", end,
                static_cast<std::size_t>(*opened), 3 * end);
    REQUIRE(*opened > 0);
    REQUIRE(lagoon::remove(name));
}

TEST_CASE("arena error: every byte of the struct flipped gives no crash at opening",
          "[arena][errors][process]") {
    const auto sound = sound_bytes();
    ArenaHeader header;
    std::memcpy(static_cast<void*>(&header), sound.data(), sizeof header);
    const auto name = unique_name("flip");
    support::Shared<std::atomic<std::size_t>> at;
    const auto ended = in_child([&] {
        for (*at = header.root_offset; *at < header.root_offset + header.root_bytes; ++*at) {
            for (const int mask : {0x01, 0x80, 0xff}) {
                auto bytes = sound;
                bytes[*at] = static_cast<char>(bytes[*at] ^ mask);
                write_file(name, bytes);
                (void)code_of([&] { return Arena<Tally>::open(name)->numbers.snapshot().size(); });
                (void)code_of([&] { return ArenaView::open(name).members().size(); });
            }
        }
        return 0;
    });
    INFO("byte " << *at - header.root_offset << " of the struct");
    REQUIRE(ended == support::exited(0));
    REQUIRE(lagoon::remove(name));
}

TEST_CASE("arena error: somebody else's file is not trusted, unless the options name the owner",
          "[arena][errors][process]") {
    if (::geteuid() != 0) return support::skip("somebody else's file", "needs to be root");
    const auto name = unique_name("owner");
    constexpr uid_t nobody = 65534;
    constexpr uid_t other = 4242;
    const auto as = [&](uid_t user, auto&& body) {
        return in_child([&] {
            if (::setgroups(0, nullptr) != 0 || ::setresuid(user, user, user) != 0) return 98;
            return body();
        });
    };
    const auto path = file_of(name);
    auto options = persistent();
    SECTION("a mode that lets nobody else in") {
        Arena<Tally>::create(name, options).close();
        REQUIRE(::chmod(support::arena_directory().c_str(), 0755) == 0);
        REQUIRE(as(nobody, [&] {
                    const auto error = error_of([&] { return Arena<Tally>::open(name); });
                    if (!error || error->errc() != Errc::not_permitted) return 1;
                    if (!contains(error->what(), "ArenaOptions::mode")) return 2;
                    return code_of([&] { return Arena<Tally>::create(name); }) == Errc::name_taken
                               ? 0
                               : 3;
                }) == support::exited(0));
        REQUIRE(::chmod(support::arena_directory().c_str(), 0700) == 0);
    }
    SECTION("another user's file that anybody may write") {
        options.mode = 0666;
        Arena<Tally>::create(name, options).close();
        REQUIRE(::chown(path.c_str(), other, other) == 0);
        REQUIRE(::chmod(support::arena_directory().c_str(), 0755) == 0);
        for (const uid_t user : {uid_t{0}, nobody}) {
            REQUIRE(as(user, [&] {
                        const auto error = error_of([&] { return Arena<Tally>::open(name); });
                        if (!error || error->errc() != Errc::not_permitted) return 1;
                        if (!contains(error->what(), "user 4242")) return 2;
                        if (code_of([&] { return lagoon::reap(name); }) != Errc::not_permitted) {
                            return 3;
                        }
                        if (code_of([&] { return lagoon::remove(name); }) != Errc::not_permitted) {
                            return 4;
                        }
                        if (code_of([&] { return ArenaView::open(name); }) != Errc::not_permitted) {
                            return 5;
                        }
                        lagoon::OpenOptions trusting;
                        trusting.owner = other;
                        return Arena<Tally>::open(name, trusting)->numbers.size() == 8 ? 0 : 6;
                    }) == support::exited(0));
        }
        REQUIRE(::chmod(support::arena_directory().c_str(), 0700) == 0);
    }
    SECTION("root's own file is trusted") {
        options.mode = 0666;
        Arena<Tally>::create(name, options).close();
        REQUIRE(::chmod(support::arena_directory().c_str(), 0755) == 0);
        REQUIRE(as(nobody, [&] { return Arena<Tally>::open(name)->numbers.size() == 8 ? 0 : 1; }) ==
                support::exited(0));
        REQUIRE(::chmod(support::arena_directory().c_str(), 0700) == 0);
    }
    std::filesystem::remove(path);
}

TEST_CASE("arena error: more processes than places", "[arena][errors][process]") {
    const auto name = unique_name("places");
    ArenaOptions options;
    options.max_processes = 2;
    const auto arena = Arena<Tally>::create(name, options);
    const support::Flag attached;
    support::Child other{[&] {
        const auto same = Arena<Tally>::open(name);
        attached.raise();
        for (;;) ::pause();
        return 0;
    }};
    attached.wait();
    const auto third = [&] {
        return in_child([&] {
            const auto error = error_of([&] { return Arena<Tally>::open(name); });
            if (!error) return 0;
            if (error->errc() != Errc::too_many_processes) return 1;
            return contains(error->what(), "max_processes") ? 2 : 3;
        });
    };
    REQUIRE(third() == support::exited(2));
    REQUIRE(ArenaView::open(name, {.writable = true}).processes().size() == 2);  // in this process
    // A dead one's place is free for the next.
    (void)other.kill();
    REQUIRE(third() == support::exited(0));
}

TEST_CASE("arena error: a gate that is held for too long names its holder", "[arena][errors]") {
    const auto name = unique_name("errors");
    const auto arena = Arena<Tally>::create(name);
    // As a process that was stopped in the middle of removing the name.
    const int fd = ::open(file_of(name).c_str(), O_RDWR | O_CLOEXEC);
    REQUIRE(fd >= 0);
    struct flock gate {};
    gate.l_type = F_WRLCK;
    gate.l_whence = SEEK_SET;
    gate.l_start = static_cast<off_t>(lagoon::detail::gate_byte);
    gate.l_len = 1;
    REQUIRE(::fcntl(fd, F_OFD_SETLK, &gate) == 0);
    const auto error = error_of([&] { return Arena<Tally>::open(name); });
    ::close(fd);
    REQUIRE(error);
    INFO(error->what());
    REQUIRE(error->errc() == Errc::busy);
    REQUIRE(contains(error->what(), "'" + name + "'"));
    REQUIRE(contains(error->what(), std::to_string(::getpid())));
}

TEST_CASE("arena error: one process has as many arenas open as it can, and no more",
          "[arena][errors]") {
    std::vector<Arena<Tally>> all;
    const auto name = unique_name("many");
    const auto error = error_of([&] {
        for (int i = 0; i < 5000; ++i) {
            all.push_back(
                Arena<Tally>::create(name + "-" + std::to_string(i),
                                     {.max_processes = 1, .max_threads = 1, .keeper = false}));
        }
        return 0;
    });
    REQUIRE(error);
    REQUIRE(error->errc() == Errc::too_many_objects);
    REQUIRE(contains(error->what(), "close"));
    const std::size_t most = all.size();
    REQUIRE(most >= 1000);
    // What was refused has left nothing, and one that is closed makes room for another.
    REQUIRE_FALSE(exists(file_of(name + "-" + std::to_string(most))));
    all.pop_back();
    all.push_back(Arena<Tally>::create(name));
    REQUIRE(all.size() == most);
}
