// 服务器的英文句子对应的中文。没有列出的句子按原样显示。每行一条：正则表达式和译文。
import type { Rule } from '../told'

export const RULES: Rule[] = [
  // 推荐某一轮的理由
  [/Nothing is learnt so far: the pictures are still those of the base model\./, '目前还没有学到东西：图片仍和基础模型的一样。'],
  [/Nothing was learnt: the pictures of every epoch are those of the base model\./, '没有学到东西：每一轮的图片都和基础模型的一样。'],
  [/(?:So far nothing|Nothing) of your subject (?:is|was) learnt, although the pictures change\./, '图片变了，却没有学到主体。'],
  [/(?:So far nothing|Nothing) of your subject (?:is|was) learnt, although the pictures change, by (\d+)% where it has no part\./, '没有学到主体，与它无关的图片却变了 $1%。'],
  [/Lower the learning rate\./, '请降低学习率。'],
  [/Raise the learning rate, or train for more steps\./, '请提高学习率，或训练更多步。'],
  [/So far only your photos themselves are learnt, not your subject in new pictures\./, '目前只学到了照片本身，还不能把主体画进新的图片。'],
  [/No epoch shows your subject in new pictures better than the base model does: only the photos themselves were learnt\./, '没有哪一轮能在新图片里比基础模型更好地画出主体：学到的只是照片本身。'],
  [/Add photos from other sides and in other light\./, '请添加其他角度和光线的照片。'],
  [/Epoch (\d+) shows your subject best and still follows prompts; later ones repeat your photos instead\./, '第 $1 轮最像你的主体，也仍然听从提示词；之后的几轮只是在重复照片。'],
  [/Epoch (\d+) shows your subject best and still follows prompts; later ones are worse\./, '第 $1 轮最像你的主体，也仍然听从提示词；之后的几轮变差了。'],
  [/Epoch (\d+) shows your subject best and still follows prompts\./, '第 $1 轮最像你的主体，也仍然听从提示词。'],
  [/Epoch (\d+) shows your subject best but changes pictures without it as well, by (\d+%); later ones repeat your photos instead\./, '第 $1 轮最像你的主体，但没有主体的图片也变了 $2；之后的几轮只是在重复照片。'],
  [/Epoch (\d+) shows your subject best but changes pictures without it as well, by (\d+%); later ones are worse\./, '第 $1 轮最像你的主体，但没有主体的图片也变了 $2；之后的几轮变差了。'],
  [/Epoch (\d+) shows your subject best but changes pictures without it as well, by (\d+%)\./, '第 $1 轮最像你的主体，但没有主体的图片也变了 $2。'],
  [/One of its previews is nearly a copy of a photo\./, '它有一张预览几乎照搬了照片。'],
  [/It was still getting better at the end: more epochs may help\./, '到最后还在变好：多训练几轮可能更好。'],
  [/Hardly learnt: (.+?); look at caption and crop\./, '几乎没有学到：$1；请检查它们的描述和裁剪。'],
  [/Learnt by heart: (.+?); lower its repeats\./, '被死记下来：$1；请降低它的重复次数。'],
  // 训练自行做的调整
  [/The loss at step (\d+) is not a number; training went back to its start and goes on at half the learning rate\./, '第 $1 步的损失不是数字；训练回到开头，以一半的学习率继续。'],
  [/The loss at step (\d+) is not a number; training went back to step (\d+) and goes on at half the learning rate\./, '第 $1 步的损失不是数字；训练回到第 $2 步，以一半的学习率继续。'],
  [/A weight after step (\d+) is not a number; training went back to its start and goes on at half the learning rate\./, '第 $1 步之后有权重不是数字；训练回到开头，以一半的学习率继续。'],
  [/A weight after step (\d+) is not a number; training went back to step (\d+) and goes on at half the learning rate\./, '第 $1 步之后有权重不是数字；训练回到第 $2 步，以一半的学习率继续。'],
  [/The device has too little memory for a whole batch, so each one is computed in single pictures; batch size and steps stay the same\./, '设备内存不足以一次计算整个批次，因此逐张计算；批大小和步数不变。'],
  [/The device has too little memory for a whole batch, so each one is computed in parts of (\d+) pictures; batch size and steps stay the same\./, '设备内存不足以一次计算整个批次，因此每次计算 $1 张；批大小和步数不变。'],
]
