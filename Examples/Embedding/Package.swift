// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "embedding",
    platforms: [.macOS(.v15)],
    dependencies: [.package(name: "understudy", path: "../..")],
    targets: [
        .executableTarget(
            name: "Embedding",
            dependencies: [
                .product(name: "Inference", package: "understudy"),
                .product(name: "LanguageModels", package: "understudy"),
            ])
    ]
)
