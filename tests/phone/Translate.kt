package com.example.generator

import java.io.File
import kotlin.system.exitProcess

/** Translates a picture's bytes: MODEL.onnx PICTURE ANSWER. What the generator refuses is said, with exit code 2. */
fun main(arguments: Array<String>) {
    val (model, picture, answer) = arguments.map(::File)
    try {
        generatorOf(model).use { answer.writeBytes(it.run(picture.readBytes())) }
    } catch (refused: RuntimeException) {
        System.err.println(refused.message)
        exitProcess(2)
    }
}
