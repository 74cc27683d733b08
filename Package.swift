// swift-tools-version: 6.2
import PackageDescription

let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let package = Package(
    name: "understudy",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "understudy", targets: ["CommandLineTool"]),
        .library(name: "Inference", targets: ["Inference"]),
        .library(name: "LanguageModels", targets: ["LanguageModels", "Tokenizers", "Tensors"]),
    ],
    traits: [
        .trait(name: "MPI", description: "Training on several processes over Open MPI (Debian: libopenmpi-dev).")
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
        .package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.5.0"),
    ],
    targets: [
        .target(name: "CKernels", cSettings: [.define("_GNU_SOURCE", .when(platforms: [.linux]))]),
        .target(name: "Tensors", dependencies: ["CKernels"], swiftSettings: swiftSettings),
        .target(name: "Tokenizers", swiftSettings: swiftSettings),
        .target(
            name: "LanguageModels",
            dependencies: [
                "CKernels", "Tensors", "Tokenizers",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Subprocess", package: "swift-subprocess"),
            ], swiftSettings: swiftSettings),
        .target(
            name: "Inference",
            dependencies: [
                "CKernels", "LanguageModels", "Tensors", "Tokenizers",
                .product(name: "DequeModule", package: "swift-collections"),
            ], swiftSettings: swiftSettings),
        .target(
            name: "OpenAI",
            dependencies: [
                "Tokenizers",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ], swiftSettings: swiftSettings),
        .target(
            name: "Training", dependencies: ["CKernels", "LanguageModels", "Tensors"], swiftSettings: swiftSettings),
        .systemLibrary(name: "COpenMPI", pkgConfig: "ompi-c", providers: [.apt(["libopenmpi-dev"])]),
        .target(
            name: "Distributed",
            dependencies: ["Tensors", "Training", .target(name: "COpenMPI", condition: .when(traits: ["MPI"]))],
            swiftSettings: swiftSettings),
        .target(
            name: "Distillation",
            dependencies: [
                "CKernels", "Tensors", "Tokenizers", "LanguageModels", "Inference", "OpenAI", "Training",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Yams", package: "Yams"),
            ], swiftSettings: swiftSettings),
        .target(
            name: "Service",
            dependencies: [
                "Distillation", "Inference", "LanguageModels", "OpenAI", "Tensors", "Tokenizers",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ], swiftSettings: swiftSettings),
        .executableTarget(
            name: "CommandLineTool",
            dependencies: [
                "CKernels", "Tensors", "Tokenizers", "LanguageModels", "Inference", "Training", "Distillation",
                "Distributed", "OpenAI", "Service",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ], swiftSettings: swiftSettings),
        .target(
            name: "TestSupport", dependencies: ["LanguageModels", "Tensors", "Tokenizers", "Training"],
            path: "Tests/TestSupport",
            swiftSettings: swiftSettings),
        .testTarget(name: "CKernelsTests", dependencies: ["CKernels", "Tensors"], swiftSettings: swiftSettings),
        .testTarget(name: "TensorsTests", dependencies: ["Tensors", "CKernels"], swiftSettings: swiftSettings),
        .testTarget(
            name: "TokenizersTests", dependencies: ["LanguageModels", "Tokenizers"],
            exclude: ["character_vocabularies.json", "smollm2_ids.json"],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "InferenceTests", dependencies: ["CKernels", "Inference", "LanguageModels", "Tensors", "Tokenizers"],
            exclude: ["families.json", "llama.json"],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "OpenAITests", dependencies: ["Inference", "OpenAI", "Tokenizers"], swiftSettings: swiftSettings),
        .testTarget(
            name: "LanguageModelsTests", dependencies: ["CKernels", "LanguageModels", "Tensors", "Tokenizers"],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "TrainingTests", dependencies: ["LanguageModels", "Tensors", "TestSupport", "Training"],
            exclude: ["divergences.json", "llama.json", "qwen2_moe.json"],
            swiftSettings: swiftSettings
        ),
        .testTarget(
            name: "DistillationTests",
            dependencies: [
                "Distillation", "Inference", "LanguageModels", "OpenAI", "Tensors", "TestSupport", "Tokenizers",
                "Training", .product(name: "GRDB", package: "GRDB.swift"),
            ], swiftSettings: swiftSettings),
        .testTarget(
            name: "ServiceTests",
            dependencies: [
                "Distillation", "Inference", "LanguageModels", "OpenAI", "Service", "Tensors", "TestSupport",
                "Tokenizers",
            ], swiftSettings: swiftSettings),
    ]
)
